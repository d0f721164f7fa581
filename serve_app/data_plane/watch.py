"""Whether the candidate can be asked; found out beside the requests, never by making one wait."""

from __future__ import annotations

import asyncio
import logging

from serve_app.data_plane.pools import Pools
from serve_app.rules.rule import Candidate
from serve_app.tasks import is_to_end

PROBE_INTERVAL_S = 0.25
SLOW_IN_A_ROW = 3  # answers that did not come in time, until it counts as down
REST_S = 1.0  # for a slow one, before it is looked for: its replica says that it is there

logger = logging.getLogger(__name__)


class CandidateWatch:
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
        self._unknown = asyncio.Event()
        self._slow = 0
        self._resting = False
        self.ready = False
        self.up = False

    def follow(self, candidate: Candidate | None) -> None:
        """Begin anew, unless it is the same version in the same pool."""
        before, self._candidate = self._candidate, candidate
        if candidate == before:
            return
        self.ready = self.up = False
        self._slow = 0
        self._resting = False
        if candidate:
            self._unknown.set()

    def answered(self, candidate: Candidate | None) -> None:
        """It answered in time."""
        if candidate == self._candidate:
            self._slow = 0

    def was_slow(self, candidate: Candidate | None) -> None:
        """It did not answer in time."""
        if candidate != self._candidate:
            return
        self._slow += 1
        if self._slow >= SLOW_IN_A_ROW:
            self._resting = True
            self.was_unreachable(candidate)

    def was_unreachable(self, candidate: Candidate | None) -> None:
        """It could not be asked; until a replica shows again, nobody tries."""
        if candidate != self._candidate:
            return
        self.up = False
        self._slow = 0
        self._unknown.set()

    async def run(self) -> None:
        """Look for the candidate whenever it is not known to be up, until cancelled."""
        while True:
            await self._unknown.wait()
            if self._resting:
                await asyncio.sleep(REST_S)
                self._resting = False
            try:
                await self._probe()
            except (Exception, asyncio.CancelledError):
                if is_to_end():
                    raise
                logger.exception("probe.failed")
            if self._unknown.is_set():
                await asyncio.sleep(PROBE_INTERVAL_S)

    async def _probe(self) -> None:
        candidate = self._candidate
        if candidate is None:
            self._unknown.clear()
            return
        found = any(
            (replica.pool, replica.version) == (candidate.pool, candidate.version)
            for replica in await self._pools.replicas()
        )
        if found and candidate == self._candidate:
            self.ready = self.up = True
            self._unknown.clear()
