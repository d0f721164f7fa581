"""The circuit breaker of the candidate. Its probes run in the background: no request waits for one.

Closed, requests go to the candidate. Open, they do not: a split sends them to stable, a shadow
sheds their copies.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from serve_app.data_plane.pools import LATE_S, Pools
from serve_app.errors import NotReady, TooSlow
from serve_app.rules.rule import Candidate
from serve_app.tasks import was_cancelled

PROBE_INTERVAL_S = 0.25
TIMEOUTS_TO_OPEN = 3  # in a row
OPEN_S = 1.0  # after timeouts, before the next probe: a slow replica still answers probes

logger = logging.getLogger(__name__)


class CandidateBreaker:
    """Opens for 1 s after three timeouts in a row, and while the candidate is unreachable.

    It ignores results of a candidate other than that of the rule in force: they come from requests
    that started under an earlier rule.

    Attributes:
        ready: The candidate was reachable at least once since `set_candidate`. It stays true while
            the breaker is open, so that users keep their assignment and stable serves them.
        is_closed: Requests may go to the candidate.
    """

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._candidate: Candidate | None = None
        self._probe_needed = asyncio.Event()
        self._timeouts = 0  # in a row
        self._is_cooling_down = False
        self._deadlines: set[asyncio.Timeout] = set()  # of requests to the candidate
        self._late_deadlines: set[asyncio.Timeout] = set()  # of those that take over LATE_S
        self.ready = False
        self.is_closed = False

    def set_candidate(self, candidate: Candidate | None) -> None:
        """Reset the breaker, unless the version and the pool are the same as before."""
        previous, self._candidate = self._candidate, candidate
        if candidate == previous:
            return
        self.ready = self.is_closed = False
        self._timeouts = 0
        self._is_cooling_down = False
        self._deadlines.clear()
        self._late_deadlines.clear()
        if candidate:
            self._probe_needed.set()

    def allows(self, candidate: Candidate) -> bool:
        """Whether a request may go to a candidate.

        The breaker knows only the candidate of the rule in force: a request of an earlier rule may
        go to its own.
        """
        return self.is_closed or candidate != self._candidate

    @contextlib.asynccontextmanager
    async def deadline(self, candidate: Candidate | None, timeout_s: float) -> AsyncIterator[None]:
        """Bound the time of a request to the candidate; end it early if no replica is left.

        Raises:
            TooSlow: The request took longer than `timeout_s`.
            NotReady: A probe found no replica of the candidate. Serve alone would keep the request
                waiting for one.
        """
        loop = asyncio.get_running_loop()
        ends_at_s = loop.time() + timeout_s
        deadline = asyncio.timeout_at(ends_at_s)
        late_timer = loop.call_later(LATE_S, self._mark_late, candidate, deadline)
        try:
            async with deadline:
                if candidate == self._candidate:
                    self._deadlines.add(deadline)
                yield
        except TimeoutError as exc:
            if deadline.when() != ends_at_s:
                raise NotReady("the candidate has no replica left") from exc
            raise TooSlow(f"the candidate did not answer within {timeout_s:g} s") from exc
        finally:
            late_timer.cancel()
            self._deadlines.discard(deadline)
            self._late_deadlines.discard(deadline)

    def record_success(self, candidate: Candidate | None) -> None:
        """Record a prediction in time."""
        if candidate == self._candidate:
            self._timeouts = 0

    def record_timeout(self, candidate: Candidate | None) -> None:
        """Record a timeout; the third in a row opens the breaker for `OPEN_S`."""
        if candidate != self._candidate:
            return
        self._timeouts += 1
        if self._timeouts >= TIMEOUTS_TO_OPEN:
            self._is_cooling_down = True
            self.record_unreachable(candidate)

    def record_unreachable(self, candidate: Candidate | None) -> None:
        """Open the breaker until a probe finds a replica."""
        if candidate != self._candidate:
            return
        self.is_closed = False
        self._timeouts = 0
        self._probe_needed.set()

    async def run(self) -> None:
        """Probe while the breaker is open or a request is late, until cancelled."""
        while True:
            await self._probe_needed.wait()
            if self._is_cooling_down:
                await asyncio.sleep(OPEN_S)
                self._is_cooling_down = False
            try:
                await self._probe()
            except (Exception, asyncio.CancelledError):
                if was_cancelled():
                    raise
                logger.exception("probe.failed")
            if self._probe_needed.is_set():
                await asyncio.sleep(PROBE_INTERVAL_S)

    async def _probe(self) -> None:
        candidate = self._candidate
        if candidate is None:
            self._probe_needed.clear()
            return
        # Only requests from before the probe: a replica that starts meanwhile may serve later ones.
        deadlines = self._deadlines.copy()
        replicas = await self._pools.replicas(candidate.pool)
        if candidate != self._candidate:
            return
        is_found = any(replica.version == candidate.version for replica in replicas)
        self.is_closed = is_found and not self._is_cooling_down
        if self.is_closed:
            self.ready = True
            if not self._late_deadlines:
                self._probe_needed.clear()
        elif not is_found:
            self._expire(deadlines)

    def _mark_late(self, candidate: Candidate | None, deadline: asyncio.Timeout) -> None:
        if candidate == self._candidate:
            self._late_deadlines.add(deadline)
            self._probe_needed.set()

    def _expire(self, deadlines: set[asyncio.Timeout]) -> None:
        now_s = asyncio.get_running_loop().time()
        for deadline in deadlines & self._deadlines:
            if not deadline.expired():
                deadline.reschedule(now_s)
