"""The shadow report: the candidate's predictions on copies, compared with stable's."""

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
from serve_app.evidence.units import Texts, sum_by_code
from serve_app.reports import experiment, reviews, to_json
from serve_app.reports.experiment import VersionLabels
from serve_app.reports.period import Period
from serve_app.store.epochs import Epoch
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.pair_sums import PairCounts, PairSum
from serve_app.store.store import Store
from serve_app.store.unit_pairs import UnitPairs


def report(store: Store, period: Period, labels: VersionLabels) -> dict[str, Any]:
    """Labels, latency and load of the newest shadow's candidate.

    Args:
        labels: The labels that a version knows.

    Raises:
        NothingToReport: No shadow was in force in the period.
    """
    epochs = _epochs(store, period)
    scope = period.scope([epoch.number for epoch in epochs])
    stable, candidate = experiment.epoch_rule(epochs[-1]).versions.values()
    shared = sorted(set(labels(stable)) & set(labels(candidate)))

    pairs, sums = store.pair_counts(scope), store.pair_sums(scope, by=("outcome", "error"))
    copied_sums = [row for row in sums if row.outcome == CopyOutcome.COPIED]
    copied = pairs.select(pairs.outcome.equals(CopyOutcome.COPIED))
    load = _load(store.exposure_sums(scope, by=("reason",), slot_ms=MINUTE_MS), pairs)
    copies = Copies(
        minute=copied.minute,
        region=copied.region.texts(),
        stable=copied.live_label.texts(),
        candidate=copied.label.texts(),
        images=copied.pairs.astype(np.float64),
    )
    unit_pairs = store.unit_pairs(period.whole_days.scope(scope.epochs), shared)
    cluster_size = images_per_unit(unit_pairs.unit, unit_pairs.pairs)
    agreement_effect = design_effect(unit_pairs.unit, unit_pairs.compared, unit_pairs.agreed)
    new_label_effect = design_effect(unit_pairs.unit, unit_pairs.pairs, unit_pairs.new)
    new_label_effects_by_region = {
        region: design_effect(in_region.unit, in_region.pairs, in_region.new)
        for region, in_region in _by_region(unit_pairs)
    }
    agreement = estimates.estimate_agreement(copies, load, shared, agreement_effect)
    new_labels = estimates.estimate_new_label_rate(copies, load, shared, new_label_effect)
    new_labels_by_region = estimates.estimate_new_label_rate_by_region(
        copies, load, shared, new_label_effects_by_region
    )
    new_labels_by_hour = estimates.estimate_new_label_rate_by_hour(
        copies, load, shared, new_label_effect
    )
    transitions = estimates.estimate_transitions(copies, load)
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
            outcome.value: sum(row.pairs for row in sums if row.outcome == outcome)
            for outcome in CopyOutcome
        },
        "errors": _errors(sums),
        "agreement": to_json.weighted_rate(agreement),
        "transitions": {
            "stable": list(transitions.stable),
            "candidate": list(transitions.candidate),
            "shares": transitions.shares.tolist(),
        },
        "new_labels": {
            "rate": to_json.weighted_rate(new_labels),
            "by_region": [
                {"region": region or None, **to_json.weighted_rate(rate)}
                for region, rate in new_labels_by_region.items()
            ],
            "by_hour": [
                {"at_ms": hour * HOUR_MS, **to_json.weighted_rate(rate)}
                for hour, rate in new_labels_by_hour.items()
            ],
        },
        "images_per_unit": cluster_size,
        "model_ms": _model_ms(unit_pairs),
        "latency_ms": {
            "candidate": _mean(
                _sum(copied_sums, "latency_ms_sum"), _sum(copied_sums, "latency_ms_count")
            ),
            "stable": _mean(
                _sum(copied_sums, "live_latency_ms_sum"),
                _sum(copied_sums, "live_latency_ms_count"),
            ),
        },
        "load": _load_summary(load),
        "drift": {
            "stable": _drift(copies, copies.stable, cluster_size),
            "candidate": _drift(copies, copies.candidate, cluster_size),
        },
        "reviews": reviews.section(store, scope, stable, candidate, shared),
    }


def _epochs(store: Store, period: Period) -> list[Epoch]:
    """The shadow epochs with the newest pair of versions.

    Raises:
        NothingToReport: There is none in the period.
    """
    shadows = [
        epoch
        for epoch in store.epochs_between(period.since_ms, period.until_ms)
        if epoch.kind == "shadow"
    ]
    if not shadows:
        raise NothingToReport(
            "no shadow was in force in this period: deploy one, or give an earlier --since"
        )
    newest = experiment.epoch_rule(shadows[-1]).versions
    return [epoch for epoch in shadows if experiment.epoch_rule(epoch).versions == newest]


def _load(sums: list[ExposureSum], pairs: PairCounts) -> Load:
    """Exposures and copies by minute. Pinned requests are never copied and do not count."""
    exposures: Counter[int] = Counter()
    for row in sums:
        if row.reason != Reason.PINNED:
            exposures[(row.at_ms or 0) // MINUTE_MS] += row.exposures
    minutes = np.union1d(np.array(list(exposures), np.int64), pairs.minute)
    pair_row = np.searchsorted(minutes, pairs.minute)
    by_outcome = {
        outcome: sum_by_code(pair_row, pairs.pairs * pairs.outcome.equals(outcome), len(minutes))
        for outcome in CopyOutcome
    }
    recorded = np.array([exposures[minute] for minute in minutes.tolist()], np.float64)
    return Load(
        minute=minutes,
        # An exposure may be lost while its shadow pair is stored.
        answered=np.maximum(recorded, sum(by_outcome.values())),
        copied=by_outcome[CopyOutcome.COPIED],
        shed=by_outcome[CopyOutcome.SHED],
        failed=by_outcome[CopyOutcome.FAILED],
    )


def _load_summary(load: Load) -> dict[str, Any]:
    """The candidate's load, and whether it carried the peak minute."""
    summary = estimates.summarize_load(load)
    peak_minute = summary.peak_minute
    return {
        "copies_per_minute": summary.copies_per_minute,
        "minutes": summary.minutes,
        "peak_at_ms": None if peak_minute is None else peak_minute * MINUTE_MS,
        "peak_images": summary.peak_answered,
        "peak_copied_share": summary.peak_copied,
        "established": summary.is_established,
        "sentence": summary.sentence,
    }


def _errors(sums: list[PairSum]) -> dict[str, int]:
    """Error code -> pairs that failed or were shed."""
    errors: dict[str, int] = {}
    for row in sums:
        if row.error:
            errors[row.error] = errors.get(row.error, 0) + row.pairs
    return errors


def _by_region(unit_pairs: UnitPairs) -> Iterator[tuple[str, UnitPairs]]:
    for region in unit_pairs.region.categories:
        yield region, unit_pairs.select(unit_pairs.region.equals(region))


def _model_ms(unit_pairs: UnitPairs) -> dict[str, Any]:
    """Mean model times on the same images, over whole UTC days."""
    difference, interval = estimates.estimate_latency_difference(
        unit_pairs.unit,
        unit_pairs.model_ms_count,
        unit_pairs.model_ms_sum - unit_pairs.live_model_ms_sum,
        unit_pairs.squared_difference_sum,
    )
    count = float(unit_pairs.model_ms_count.sum())
    return {
        "stable": _mean(float(unit_pairs.live_model_ms_sum.sum()), count),
        "candidate": _mean(float(unit_pairs.model_ms_sum.sum()), count),
        "difference": to_json.number(difference),
        "interval": to_json.interval(interval),
        "pairs": int(count),
    }


def _drift(copies: Copies, labels: Texts, cluster_size: float) -> dict[str, Any]:
    """Drift of a version's labels from the first half of the copies to the second.

    The middle minute belongs to the second half.
    """
    minutes, row = np.unique(copies.minute, return_inverse=True)
    cumulated = sum_by_code(row, copies.images, len(minutes)).cumsum()
    is_later = (cumulated > copies.images.sum() / 2)[row]
    names, code = np.unique(labels, return_inverse=True)
    before, after = (
        sum_by_code(code[rows], copies.images[rows], len(names)) for rows in (~is_later, is_later)
    )
    return to_json.drift(drift(before, after, cluster_size))


def _sum(sums: list[PairSum], name: str) -> float:
    return float(sum(getattr(row, name) for row in sums))


def _mean(total: float, count: float) -> float | None:
    return total / count if count else None
