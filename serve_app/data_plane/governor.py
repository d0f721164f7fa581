"""How much of the sample a shadow may copy, so that it never costs the live answers."""

from __future__ import annotations

from statistics import quantiles

MIN_SHARE = 0.01
GROWTH = 0.1  # of the share, a second, while all is well
MIN_ANSWERS = 20  # of a second, before its p95 says anything
SLOWER = 1.5  # times the usual p95
SLOWER_MS = 5.0  # and as much above it
USUAL_RISES = 1.02  # a second: what lasts becomes usual, in half a minute or so


class Governor:
    """Halves its share in a second in which the candidate lagged or the live p95 rose; grows it
    step by step otherwise (additive increase, multiplicative decrease).

    Attributes:
        share: Of the sample, 0.01 to 1.
    """

    def __init__(self) -> None:
        self.share = 1.0
        self._live_ms: list[float] = []
        self._usual_ms: float | None = None
        self._lagged = False

    def record_latency(self, latency_ms: float) -> None:
        """A live request was answered."""
        self._live_ms.append(latency_ms)

    def record_lag(self) -> None:
        """The candidate owed too much, or did not answer in time."""
        self._lagged = True

    def tick(self) -> None:
        """A second has passed."""
        if self._lagged or self._live_is_slow():
            self.share = max(MIN_SHARE, self.share / 2)
        else:
            self.share = min(1.0, self.share + GROWTH)
        self._lagged = False
        self._live_ms = []

    def _live_is_slow(self) -> bool:
        if len(self._live_ms) < MIN_ANSWERS:
            return False
        p95_ms = quantiles(self._live_ms, n=20)[-1]
        usual_ms = p95_ms if self._usual_ms is None else self._usual_ms
        self._usual_ms = min(p95_ms, USUAL_RISES * usual_ms)
        return p95_ms > max(SLOWER * usual_ms, usual_ms + SLOWER_MS)
