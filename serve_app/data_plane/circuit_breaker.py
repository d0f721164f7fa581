"""Whether the candidate can be asked; found out beside the requests, never by making one wait."""

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
TIMEOUTS_TO_OPEN = 3  # answers that did not come in time, until it counts as down
OPEN_S = 1.0  # for a slow one, before it is looked for: its replica says that it is there

logger = logging.getLogger(__name__)


class CandidateBreaker:
    """Follows the candidate of the rule in force. What it is told of another one, by requests of
    the rule before, says nothing of that.

    Attributes:
        ready: It could answer at least once under this candidate. This stays: a candidate that
            goes down keeps its users, who are answered by stable in its place.
        up: It can be asked now, as far as is known.
    """

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._candidate: Candidate | None = None
        self._looking = asyncio.Event()  # whether it is to be looked for
        self._slow = 0
        self._resting = False
        self._waiting: set[asyncio.Timeout] = set()  # for the candidate
        self._late: set[asyncio.Timeout] = set()  # those of them that wait long
        self.ready = False
        self.is_closed = False

    def set_candidate(self, candidate: Candidate | None) -> None:
        """Begin anew, unless it is the same version in the same pool."""
        before, self._candidate = self._candidate, candidate
        if candidate == before:
            return
        self.ready = self.is_closed = False
        self._slow = 0
        self._resting = False
        self._waiting.clear()
        self._late.clear()
        if candidate:
            self._looking.set()

    @contextlib.asynccontextmanager
    async def deadline(self, candidate: Candidate | None, timeout_s: float) -> AsyncIterator[None]:
        """Waits for an answer of the candidate, as long as there is one that can come.

        Raises:
            TooSlow: None came in time.
            NotReady: No replica is there any more that could give one: Serve goes on looking.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout_s
        deadline = asyncio.timeout_at(ends)
        late = loop.call_later(LATE_S, self._is_late, candidate, deadline)
        try:
            async with deadline:
                if candidate == self._candidate:
                    self._waiting.add(deadline)
                yield
        except TimeoutError as exc:
            if deadline.when() != ends:
                raise NotReady("the candidate has no replica any more that can answer") from exc
            raise TooSlow(f"the candidate did not answer within {timeout_s:g} s") from exc
        finally:
            late.cancel()
            self._waiting.discard(deadline)
            self._late.discard(deadline)

    def record_success(self, candidate: Candidate | None) -> None:
        """It answered in time."""
        if candidate == self._candidate:
            self._slow = 0

    def record_timeout(self, candidate: Candidate | None) -> None:
        """It did not answer in time."""
        if candidate != self._candidate:
            return
        self._slow += 1
        if self._slow >= TIMEOUTS_TO_OPEN:
            self._resting = True
            self.record_unreachable(candidate)

    def record_unreachable(self, candidate: Candidate | None) -> None:
        """It could not be asked; until a replica shows again, nobody tries."""
        if candidate != self._candidate:
            return
        self.is_closed = False
        self._slow = 0
        self._looking.set()

    async def run(self) -> None:
        """Look for the candidate while it is not known to be up or an answer is late, until
        cancelled."""
        while True:
            await self._looking.wait()
            if self._resting:
                await asyncio.sleep(OPEN_S)
                self._resting = False
            try:
                await self._probe()
            except (Exception, asyncio.CancelledError):
                if was_cancelled():
                    raise
                logger.exception("probe.failed")
            if self._looking.is_set():
                await asyncio.sleep(PROBE_INTERVAL_S)

    async def _probe(self) -> None:
        candidate = self._candidate
        if candidate is None:
            self._looking.clear()
            return
        waiting = self._waiting.copy()  # who comes later may be answered by a replica that does
        replicas = await self._pools.replicas(candidate.pool)
        if candidate != self._candidate:
            return
        found = any(replica.version == candidate.version for replica in replicas)
        self.is_closed = found and not self._resting
        if self.is_closed:
            self.ready = True
            if not self._late:
                self._looking.clear()
        elif not found:
            self._end(waiting)

    def _is_late(self, candidate: Candidate | None, deadline: asyncio.Timeout) -> None:
        if candidate == self._candidate:
            self._late.add(deadline)
            self._looking.set()

    def _end(self, waiting: set[asyncio.Timeout]) -> None:
        now = asyncio.get_running_loop().time()
        for deadline in waiting & self._waiting:
            if not deadline.expired():
                deadline.reschedule(now)
