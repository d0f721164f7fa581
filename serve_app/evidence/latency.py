"""Latency histograms with logarithmic buckets, and their quantiles.

There is no interval for a difference of quantiles. To test a quantile, compare the share of units
whose first answer is above `LatencyLimit.slow_ms`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.hours import Hour, hour_weights
from serve_app.evidence.units import Ints

RATIO = 1.05  # of a bucket's upper edge to its lower edge
MIN_MS = 0.1  # the lower edge of bucket 0, which has all lower latencies as well
MAX_ERROR = math.sqrt(RATIO) - 1  # of a quantile, relative: 2.5 %

SLOW_QUANTILE = 0.95  # of stable's latencies
HUNG_RATIO = 10.0  # of the limit of a hung answer to that of a slow one
MIN_ANSWERS = 100  # for a limit


def bucket_of(latency_ms: float) -> int:
    """The bucket b of a latency: MIN_MS * RATIO^b <= latency_ms < MIN_MS * RATIO^(b + 1).

    Latencies below MIN_MS are in bucket 0.

    Raises:
        ValueError: The latency is negative or not finite.
    """
    if not 0 <= latency_ms < math.inf:
        raise ValueError(f"latency_ms is {latency_ms}: expected 0 or more")
    if latency_ms <= MIN_MS:
        return 0
    # The logarithm may be rounded across an edge, so the edges decide.
    bucket = max(0, round(math.log(latency_ms / MIN_MS, RATIO)))
    return bucket if lower_edge_ms(bucket) <= latency_ms else bucket - 1


def lower_edge_ms(bucket: int) -> float:
    """The lower edge of a bucket."""
    return MIN_MS * RATIO**bucket


def quantile(counts: Mapping[int, float], q: float) -> float | None:
    """A quantile in ms; None without counts.

    The geometric mean of the edges of the bucket in which the cumulative count reaches q times the
    total. Above MIN_MS it differs from the sample quantile (the inverse of the empirical
    distribution function) by a factor of at most sqrt(RATIO), 2.5 %.

    Args:
        counts: Latencies by bucket; the sum of two histograms is the sum of their counts.
        q: Above 0, at most 1.

    Raises:
        ValueError: q is out of range.
    """
    if not 0 < q <= 1:
        raise ValueError(f"q is {q}: expected above 0, to 1")
    total = sum(counts.values())
    cumulative = 0.0
    for bucket in sorted(bucket for bucket, count in counts.items() if count):
        cumulative += counts[bucket]
        if cumulative >= q * total * (1 - 1e-12):
            return lower_edge_ms(bucket) * math.sqrt(RATIO)
    return None


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Latency quantiles in ms; None without latencies."""

    p50: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, counts: Mapping[int, float]) -> Quantiles:
        """The quantiles of latencies by bucket."""
        return cls(*(quantile(counts, q) for q in (0.5, 0.95, 0.99)))


@dataclass(frozen=True, slots=True)
class LatencyLimit:
    """The latency from which a unit is slow; fixed for an experiment.

    Attributes:
        slow_ms: A unit is slow if its first answer took longer.
        from_ms: Units that were assigned before have no such limit: it was found on their answers.
    """

    slow_ms: float
    from_ms: int

    @property
    def hung_ms(self) -> float:
        """An answer that took longer is a failure."""
        return HUNG_RATIO * self.slow_ms


def latency_limit(
    before: Mapping[int, float],
    first: Mapping[int, float],
    started_ms: int,
    settle_ms: int,
    as_of_ms: int,
) -> LatencyLimit | None:
    """The p95 of stable's latencies before the experiment, or else at its beginning.

    Args:
        before: Stable's latencies by bucket, of the 24 hours before the experiment.
        first: Those of the first `settle_ms` of the experiment, which are used if there are less
            than `MIN_ANSWERS` before it and this time is over.

    Returns:
        None if neither has enough answers.
    """
    if sum(before.values()) >= MIN_ANSWERS:
        counts, from_ms = before, started_ms
    else:
        counts, from_ms = first, started_ms + settle_ms
    if sum(counts.values()) < MIN_ANSWERS or as_of_ms < from_ms:
        return None
    slow_ms = quantile(counts, SLOW_QUANTILE)
    return None if slow_ms is None else LatencyLimit(slow_ms, from_ms)


@dataclass(frozen=True, slots=True, eq=False)
class HourHistogram:
    """The latencies of one arm in an hour.

    Attributes:
        arm: 0 for control, 1 for treatment.
        buckets: int64 [k].
        counts: int64 [k], latencies in each bucket.
    """

    hour: Hour
    arm: int
    buckets: Ints
    counts: Ints


def balanced_quantiles(histograms: Sequence[HourHistogram]) -> tuple[Quantiles, Quantiles]:
    """The quantiles of control and of treatment, over hours weighted by `hours.hour_weights`."""
    hours = {hour: n for n, hour in enumerate(sorted({h.hour for h in histograms}))}
    last_bucket = max((int(h.buckets.max()) for h in histograms), default=0)
    counts = np.zeros((len(hours), 2, last_bucket + 1))
    for histogram in histograms:
        counts[hours[histogram.hour], histogram.arm, histogram.buckets] = histogram.counts
    has_both, weights = hour_weights(counts)
    control, treatment = (weights[:, :, None] * counts[has_both]).sum(axis=0).tolist()
    return Quantiles.of(dict(enumerate(control))), Quantiles.of(dict(enumerate(treatment)))
