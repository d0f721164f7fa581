"""Quantiles of latencies that are kept as counts in buckets of equal ratio.

A difference of quantiles has no interval here: compare the share of answers that took longer than
some limit, such as stable's p95 of the day before, with `comparison.compare`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

RATIO = 1.05  # of a bucket's upper edge to its lower one
LEAST_MS = 0.1  # what is faster falls in bucket 0
MAX_ERROR = math.sqrt(RATIO) - 1  # of a quantile, relative: 2.5 %


def bucket_of(latency_ms: float) -> int:
    """The bucket of a latency: number b holds [LEAST_MS * RATIO**b, LEAST_MS * RATIO**(b + 1)),
    and 0 what is faster as well.

    Raises:
        ValueError: It is negative or not finite.
    """
    if not 0 <= latency_ms < math.inf:
        raise ValueError(f"latency_ms is {latency_ms}: expected 0 or more")
    if latency_ms <= LEAST_MS:
        return 0
    # The logarithm may round to the neighbour of an edge; the edges decide.
    bucket = max(0, round(math.log(latency_ms / LEAST_MS, RATIO)))
    return bucket if lower_edge_ms(bucket) <= latency_ms else bucket - 1


def lower_edge_ms(bucket: int) -> float:
    """Where a bucket begins."""
    return LEAST_MS * RATIO**bucket


def quantile(counts: Mapping[int, float], q: float) -> float | None:
    """A quantile, in ms; None without a latency.

    The geometric middle of the bucket in which the counts, from the fastest on, reach q of them.
    It is off by a factor of sqrt(RATIO) at most, 2.5 %, from the sample's own (the inverse of the
    empirical distribution), above LEAST_MS.

    Args:
        counts: Answers by bucket; histograms add up by adding their counts.
        q: Above 0 to 1.

    Raises:
        ValueError: q is out of range.
    """
    if not 0 < q <= 1:
        raise ValueError(f"q is {q}: expected above 0, to 1")
    total = sum(counts.values())
    reached = 0.0
    for bucket in sorted(bucket for bucket, count in counts.items() if count):
        reached += counts[bucket]
        if reached >= q * total * (1 - 1e-12):
            return lower_edge_ms(bucket) * math.sqrt(RATIO)
    return None
