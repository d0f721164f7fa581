"""What would the candidate do with the traffic of now? Its copies, beside what stable answered."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from serve_app.domain import Outcome
from serve_app.errors import NothingToReport
from serve_app.evidence import shadow as estimates
from serve_app.evidence.drift import drift
from serve_app.evidence.shadow import Copies, Load
from serve_app.reports import experiment, figures
from serve_app.reports.period import MINUTE_MS, Period
from serve_app.store.epochs import Epoch
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.pair_sums import PairSum
from serve_app.store.store import Store

Labels = Callable[[str], Collection[str]]


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

    pairs = store.pair_sums(
        scope, by=("region", "live_label", "label", "outcome"), slot_ms=MINUTE_MS
    )
    answered = store.exposure_sums(scope, by=("region",), slot_ms=MINUTE_MS)
    copies, load = _copies(pairs), _load(answered, pairs)
    matrix = estimates.transitions(copies, load)
    carried = estimates.load_report(load)
    total = next(iter(store.pair_sums(scope)), None)
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
        "outcomes": _outcomes(pairs),
        "errors": {one.error: one.pairs for one in store.pair_sums(scope, by=("error",))},
        "agreement": figures.weighted_share(estimates.agreement(copies, load, shared)),
        "transitions": {
            "stable": matrix.stable,
            "candidate": matrix.candidate,
            "shares": matrix.shares.tolist(),
        },
        "new_labels": {
            "rate": figures.weighted_share(estimates.new_label_rate(copies, load, shared)),
            "by_region": [
                {"region": region or None, **figures.weighted_share(found)}
                for region, found in estimates.new_label_rate_by_region(
                    copies, load, shared
                ).items()
            ],
            "by_hour": [
                {"at_ms": hour * 60 * MINUTE_MS, **figures.weighted_share(found)}
                for hour, found in estimates.new_label_rate_by_hour(copies, load, shared).items()
            ],
        },
        "model_ms": _model_ms(total),
        "latency_ms": {
            "candidate": _mean(total.latency_sum, total.timed) if total else None,
            "stable": _mean(total.live_latency_sum, total.lived) if total else None,
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
        "drift": _drift(pairs),
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


def _copies(pairs: list[PairSum]) -> Copies:
    copied = [one for one in pairs if one.outcome == Outcome.COPIED]
    return Copies(
        minute=np.array([_minute(one) for one in copied], np.int64),
        region=np.array([one.region for one in copied], np.str_),
        stable=np.array([one.live_label for one in copied], np.str_),
        candidate=np.array([one.label for one in copied], np.str_),
        pictures=np.array([one.pairs for one in copied], np.float64),
    )


def _load(answered: list[ExposureSum], pairs: list[PairSum]) -> Load:
    """A row a minute."""
    kinds = list(Outcome)
    rows: dict[int, list[int]] = {}
    for one in answered:
        rows.setdefault(_minute(one), [0] * (1 + len(kinds)))[0] += one.exposures
    for pair in pairs:
        row = rows.setdefault(_minute(pair), [0] * (1 + len(kinds)))
        row[1 + kinds.index(Outcome(pair.outcome or ""))] += pair.pairs
    columns = np.array(list(rows.values()), np.float64).reshape(-1, 1 + len(kinds)).T
    of = dict(zip(kinds, columns[1:], strict=True))
    return Load(
        minute=np.array(list(rows), np.int64),
        answered=np.maximum(columns[0], columns[1:].sum(axis=0)),  # an exposure may be lost
        copied=of[Outcome.COPIED],
        shed=of[Outcome.SHED],
        failed=of[Outcome.FAILED],
    )


def _minute(one: ExposureSum | PairSum) -> int:
    return (one.at_ms or 0) // MINUTE_MS


def _outcomes(pairs: list[PairSum]) -> dict[str, int]:
    return {
        outcome.value: sum(one.pairs for one in pairs if one.outcome == outcome)
        for outcome in Outcome
    }


def _model_ms(total: PairSum | None) -> dict[str, Any]:
    """The network's time on the same pictures."""
    if total is None or not total.paired:
        return {"stable": None, "candidate": None, "difference": None, "interval": [None, None]}
    difference, found = estimates.latency_difference(
        total.paired, total.difference_sum, total.difference_squares
    )
    return {
        "stable": total.live_model_sum / total.paired,
        "candidate": total.model_sum / total.paired,
        "difference": figures.number(difference),
        "interval": figures.bounds(found),
        "pairs": total.paired,
    }


def _drift(pairs: list[PairSum]) -> dict[str, Any]:
    """Whether what both versions answer changed from the first half of the copies to the second;
    the minute in the middle is in the second."""
    copied = [one for one in pairs if one.outcome == Outcome.COPIED]
    counts = np.array([one.pairs for one in copied], np.float64)
    minutes, row = np.unique([_minute(one) for one in copied], return_inverse=True)
    reached = np.bincount(row, counts, len(minutes)).cumsum()
    later = (reached > counts.sum() / 2)[row]
    found = {}
    for name in ("live_label", "label"):
        labels = sorted({getattr(one, name) or "" for one in copied})
        of = np.array([labels.index(getattr(one, name) or "") for one in copied], np.int64)
        before, now = (
            np.bincount(of[rows], counts[rows], len(labels)).astype(np.float64)
            for rows in (~later, later)
        )
        moved = drift(before, now)
        found["stable" if name == "live_label" else "candidate"] = {
            "divergence_bits": moved.divergence if moved else None,
            "noise_bits": moved.noise if moved else None,
            "drift": moved.is_drift if moved else None,
        }
    return found


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None
