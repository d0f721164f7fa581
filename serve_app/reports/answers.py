"""The answers of the versions of a split, one by one: for description, without a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from serve_app.clock import DAY_MS, HOUR_MS, MINUTE_MS
from serve_app.evidence.latency import (
    HourHistogram,
    LatencyLimit,
    Quantiles,
    balanced_quantiles,
    latency_limit,
)
from serve_app.reports.experiment import Experiment
from serve_app.reports.parts import INLINE, Series
from serve_app.reports.period import Period
from serve_app.reports.traffic import Counts
from serve_app.rules.plan import Reason
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.scope import Scope
from serve_app.store.store import Store


@dataclass(frozen=True, slots=True)
class VersionAnswers:
    """The exposures of a version with the reason `split`.

    Attributes:
        mean_latency_ms: nan without an exposure.
        error_codes: Code -> exposures that failed with it; the most frequent first.
    """

    version: str
    counts: Counts = field(metadata=INLINE)
    mean_latency_ms: float
    error_codes: Mapping[str, int]

    @classmethod
    def of(cls, version: str, sums: Iterable[ExposureSum]) -> VersionAnswers:
        """The answers of a version, among sums by version, reason and error."""
        own = [row for row in sums if row.assigned == version and row.reason == Reason.SPLIT]
        counts = Counts.of(own)
        latency_ms = sum(row.latency_ms_sum for row in own)
        codes: Counter[str] = Counter()
        for row in own:
            codes[row.error or ""] += row.errors
        return cls(
            version,
            counts,
            latency_ms / counts.exposures if counts.exposures else float("nan"),
            {code: count for code, count in codes.most_common() if count},
        )


@dataclass(frozen=True, slots=True)
class ReasonCounts:
    """Exposures of a version and reason. Only the reason `split` is compared."""

    version: str | None
    reason: str
    counts: Counts = field(metadata=INLINE)


@dataclass(frozen=True, slots=True)
class VersionPoint:
    """Exposures of a version in a time slot."""

    at_ms: int
    version: str | None
    exposures: int
    errors: int


@dataclass(frozen=True, slots=True)
class SlowLimit:
    """The latency from which an answer is slow, and the one from which it is a failure.

    Attributes:
        source: Where it comes from.
        from_ms: Units that were assigned before are not judged by it.
    """

    slow_ms: float
    hung_ms: float
    source: str
    from_ms: int


def count_reasons(sums: Iterable[ExposureSum]) -> tuple[ReasonCounts, ...]:
    """The exposures by version and reason."""
    groups: dict[tuple[str, str], list[ExposureSum]] = {}
    for row in sums:
        groups.setdefault((row.assigned or "", row.reason or ""), []).append(row)
    return tuple(
        ReasonCounts(version or None, reason, Counts.of(rows))
        for (version, reason), rows in sorted(groups.items())
    )


def make_series(store: Store, split: Experiment, period: Period) -> Series[VersionPoint]:
    """The exposures with the reason `split` over time."""
    slot_ms = period.slot_ms(split.epochs[0].started_at_ms)
    scope = period.scope(split.epoch_numbers)
    return Series(
        slot_ms,
        tuple(
            VersionPoint(row.at_ms or 0, row.assigned or None, row.exposures, row.errors)
            for row in store.exposure_sums(scope, by=("assigned", "reason"), slot_ms=slot_ms)
            if row.reason == Reason.SPLIT
        ),
    )


def find_quantiles(
    store: Store, split: Experiment, period: Period, kind: Literal["latency", "model"]
) -> dict[str, Quantiles | None]:
    """Version -> quantiles over the same hours; None for a region, which histograms do not keep."""
    versions = (split.control, split.treatment)
    if period.countries is not None:
        return dict.fromkeys(versions)
    histograms = store.latency_histograms(
        period.scope(split.epoch_numbers),
        kind,
        by=("epoch", "assigned", "reason"),
        slot_ms=HOUR_MS,
    )
    quantiles = balanced_quantiles(
        [
            HourHistogram(
                (h.epoch or 0, h.at_ms or 0), versions.index(h.assigned or ""), h.buckets, h.counts
            )
            for h in histograms
            if h.reason == Reason.SPLIT and h.assigned in versions
        ]
    )
    return dict(zip(versions, quantiles, strict=True))


def find_limit(store: Store, canary: Experiment, as_of_ms: int) -> LatencyLimit | None:
    """The latency from which a unit is slow; of all regions, and the same in every report."""
    started_ms = canary.started_at_ms
    # Latencies are kept by the minute.
    first_ms = -(-(started_ms + canary.settle_ms) // MINUTE_MS) * MINUTE_MS
    return latency_limit(
        _latencies(store, canary.control, started_ms - DAY_MS, started_ms),
        _latencies(store, canary.control, started_ms, first_ms),
        started_ms,
        first_ms - started_ms,
        as_of_ms,
    )


def describe_limit(limit: LatencyLimit | None, canary: Experiment) -> SlowLimit | None:
    """A limit as a part of an assessment."""
    if limit is None:
        return None
    when = "the 24 h before" if limit.from_ms == canary.started_at_ms else "the beginning of"
    source = f"the p95 of {canary.control} in {when} the experiment"
    return SlowLimit(limit.slow_ms, limit.hung_ms, source, limit.from_ms)


def _latencies(store: Store, version: str, since_ms: int, until_ms: int) -> Counter[int]:
    """The latencies of a version by bucket."""
    counts: Counter[int] = Counter()
    for found in store.latency_histograms(Scope(since_ms, until_ms), "latency", by=("assigned",)):
        if found.assigned == version:
            counts.update(dict(zip(found.buckets.tolist(), found.counts.tolist(), strict=True)))
    return counts
