"""What would the candidate do with the traffic of now? Its copies, beside what stable answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from serve_app.clock import HOUR_MS, MINUTE_MS
from serve_app.domain import CopyOutcome, Reason
from serve_app.errors import NothingToReport
from serve_app.evidence import shadow as estimates
from serve_app.evidence.clusters import design_effect, images_per_unit
from serve_app.evidence.drift import drift
from serve_app.evidence.shadow import Copies, Load
from serve_app.evidence.units import Labels as LabelColumn
from serve_app.evidence.units import totals
from serve_app.reports import experiment, reviews, to_json
from serve_app.reports.experiment import Labels
from serve_app.reports.period import Period
from serve_app.store.epochs import Epoch
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.pair_sums import PairCounts, PairSum
from serve_app.store.store import Store
from serve_app.store.unit_pairs import UnitPairs


def report(store: Store, period: Period, labels: Labels) -> dict[str, Any]:
    """What the newest shadow's candidate said, how fast it was, what it could carry.

    Args:
        labels: Those that a version knows.

    Raises:
        NothingToReport: There was no shadow.
    """
    epochs = _epochs(store, period)
    scope = period.scope([epoch.number for epoch in epochs])
    stable, candidate = experiment.rule_of(epochs[-1]).versions.values()
    shared = sorted(set(labels(stable)) & set(labels(candidate)))

    pairs, sums = store.pair_counts(scope), store.pair_sums(scope, by=("outcome", "error"))
    answered = [one for one in sums if one.outcome == CopyOutcome.COPIED]  # the same images
    copied = pairs.only(pairs.outcome.equals(CopyOutcome.COPIED))
    load = _load(store.exposure_sums(scope, by=("reason",), slot_ms=MINUTE_MS), pairs)
    copies = Copies(
        minute=copied.minute,
        region=copied.region.texts(),
        stable=copied.live_label.texts(),
        candidate=copied.label.texts(),
        images=copied.pairs.astype(np.float64),
    )
    sent = store.unit_pairs(period.whole_days.scope(scope.epochs), shared)
    each = images_per_unit(sent.unit, sent.pairs)
    agreeing = design_effect(sent.unit, sent.asked, sent.same)
    of_new = design_effect(sent.unit, sent.pairs, sent.new)
    of_new_there = {
        region: design_effect(there.unit, there.pairs, there.new)
        for region, there in _by_region(sent)
    }
    matrix = estimates.transitions(copies, load)
    carried = estimates.load_report(load)
    return {
        "report": "shadow",
        "period": period.content(),
        "stable": stable,
        "candidate": candidate,
        "epochs": [
            {
                "epoch": epoch.number,
                "rule_id": epoch.rule_id,
                "sample": epoch.content["sample"],
                "from_ms": epoch.started_at_ms,
                "to_ms": epoch.ended_at_ms,
            }
            for epoch in epochs
        ],
        "labels": {"shared": shared, "new": sorted(set(labels(candidate)) - set(shared))},
        "outcomes": {
            outcome.value: sum(one.pairs for one in sums if one.outcome == outcome)
            for outcome in CopyOutcome
        },
        "errors": _errors(sums),
        "agreement": to_json.weighted_share(estimates.agreement(copies, load, shared, agreeing)),
        "transitions": {
            "stable": list(matrix.stable),
            "candidate": list(matrix.candidate),
            "shares": matrix.shares.tolist(),
        },
        "new_labels": {
            "rate": to_json.weighted_share(estimates.new_label_rate(copies, load, shared, of_new)),
            "by_region": [
                {"region": region or None, **to_json.weighted_share(found)}
                for region, found in estimates.new_label_rate_by_region(
                    copies, load, shared, of_new_there
                ).items()
            ],
            "by_hour": [
                {"at_ms": hour * HOUR_MS, **to_json.weighted_share(found)}
                for hour, found in estimates.new_label_rate_by_hour(
                    copies, load, shared, of_new
                ).items()
            ],
        },
        "images_per_unit": each,
        "model_ms": _model_ms(sent),
        "latency_ms": {
            "candidate": _mean(_sum(answered, "latency_sum"), _sum(answered, "timed")),
            "stable": _mean(_sum(answered, "live_latency_sum"), _sum(answered, "lived")),
        },
        "load": {
            "copies_per_minute": carried.copies_per_minute,
            "minutes": carried.minutes,
            "peak_at_ms": None if carried.peak_minute is None else carried.peak_minute * MINUTE_MS,
            "peak_answered": carried.peak_answered,
            "peak_copied": carried.peak_copied,
            "established": carried.is_established,
            "sentence": carried.sentence,
        },
        "drift": {
            "stable": _drift(copies, copies.stable, each),
            "candidate": _drift(copies, copies.candidate, each),
        },
        "reviews": reviews.section(store, scope, stable, candidate, shared),
    }


def _epochs(store: Store, period: Period) -> list[Epoch]:
    """Those of the newest pair of versions."""
    shadows = [
        epoch
        for epoch in store.epochs_within(period.since_ms, period.until_ms)
        if epoch.kind == "shadow"
    ]
    if not shadows:
        raise NothingToReport(
            "no shadow was in force in this period: deploy one, or ask for a longer --since"
        )
    newest = experiment.rule_of(shadows[-1]).versions
    return [epoch for epoch in shadows if experiment.rule_of(epoch).versions == newest]


def _load(answered: list[ExposureSum], pairs: PairCounts) -> Load:
    """A row a minute; pinned requests are not copied, and no load of the candidate's."""
    exposures: Counter[int] = Counter()
    for one in answered:
        if one.reason != Reason.PINNED:
            exposures[(one.at_ms or 0) // MINUTE_MS] += one.exposures
    minutes = np.union1d(np.array(list(exposures), np.int64), pairs.minute)
    row = np.searchsorted(minutes, pairs.minute)
    of = {
        outcome: totals(row, pairs.pairs * pairs.outcome.equals(outcome), len(minutes))
        for outcome in CopyOutcome
    }
    told = np.array([exposures[minute] for minute in minutes.tolist()], np.float64)
    return Load(
        minute=minutes,
        answered=np.maximum(told, sum(of.values())),  # an exposure may be lost
        copied=of[CopyOutcome.COPIED],
        shed=of[CopyOutcome.SHED],
        failed=of[CopyOutcome.FAILED],
    )


def _errors(sums: list[PairSum]) -> dict[str, int]:
    """Why images were not copied."""
    errors: dict[str, int] = {}
    for one in sums:
        if one.error:
            errors[one.error] = errors.get(one.error, 0) + one.pairs
    return errors


def _by_region(sent: UnitPairs) -> Iterator[tuple[str, UnitPairs]]:
    for region in sent.region.names:
        yield region, sent.only(sent.region.equals(region))


def _model_ms(sent: UnitPairs) -> dict[str, Any]:
    """The network's time on the same images, on all days that the period touches."""
    difference, found = estimates.latency_difference(
        sent.unit, sent.paired, sent.model_sum - sent.live_model_sum, sent.difference_squares
    )
    paired = float(sent.paired.sum())
    return {
        "stable": _mean(float(sent.live_model_sum.sum()), paired),
        "candidate": _mean(float(sent.model_sum.sum()), paired),
        "difference": to_json.number(difference),
        "interval": to_json.bounds(found),
        "pairs": int(paired),
    }


def _drift(copies: Copies, labels: LabelColumn, each: float) -> dict[str, Any]:
    """Whether what a version answers changed from the first half of the copies to the second; the
    minute in the middle is in the second."""
    minutes, row = np.unique(copies.minute, return_inverse=True)
    reached = totals(row, copies.images, len(minutes)).cumsum()
    later = (reached > copies.images.sum() / 2)[row]
    names, code = np.unique(labels, return_inverse=True)
    before, now = (totals(code[rows], copies.images[rows], len(names)) for rows in (~later, later))
    return to_json.moved(drift(before, now, each))


def _sum(sums: list[PairSum], name: str) -> float:
    return float(sum(getattr(one, name) for one in sums))


def _mean(total: float, count: float) -> float | None:
    return total / count if count else None
