"""Limits how much of the sample a shadow copies, so that copies never slow live requests."""

from __future__ import annotations

from statistics import quantiles

MIN_SHARE = 0.01
GROWTH = 0.1  # of the share, per second, while live requests and candidate keep up
MIN_LATENCIES = 20  # in a second, for a p95 that means something
SLOWDOWN_RATIO = 1.5  # of the p95 over its baseline
SLOWDOWN_MS = 5.0  # of the p95 over its baseline; a slowdown exceeds both
BASELINE_GROWTH = 1.02  # per second: a lasting rise becomes the baseline after about 30 s


class Governor:
    """Adapts the share by additive increase and multiplicative decrease.

    It halves the share after a second in which the candidate lagged or the live p95 rose, and adds
    `GROWTH` after every other second.

    Attributes:
        share: Of the sample, 0.01 to 1.
    """

    def __init__(self) -> None:
        self.share = 1.0
        self._latencies_ms: list[float] = []
        self._baseline_ms: float | None = None
        self._has_lagged = False

    def record_latency(self, latency_ms: float) -> None:
        """Record the latency of a live request."""
        self._latencies_ms.append(latency_ms)

    def record_lag(self) -> None:
        """Record that the candidate had too many copies in flight, or timed out."""
        self._has_lagged = True

    def tick(self) -> None:
        """Adapt the share; to be called once a second."""
        if self._has_lagged or self._is_live_slow():
            self.share = max(MIN_SHARE, self.share / 2)
        else:
            self.share = min(1.0, self.share + GROWTH)
        self._has_lagged = False
        self._latencies_ms = []

    def _is_live_slow(self) -> bool:
        if len(self._latencies_ms) < MIN_LATENCIES:
            return False
        p95_ms = quantiles(self._latencies_ms, n=20)[-1]
        baseline_ms = p95_ms if self._baseline_ms is None else self._baseline_ms
        self._baseline_ms = min(p95_ms, BASELINE_GROWTH * baseline_ms)
        return p95_ms > max(SLOWDOWN_RATIO * baseline_ms, baseline_ms + SLOWDOWN_MS)
