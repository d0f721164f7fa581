"""The journal of revisions: each one is recorded before it is deployed.

If the process stops in between, the next one deploys it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import replace
from typing import Any

from serve_app.clock import now_ms
from serve_app.control_plane.cluster import Cluster
from serve_app.control_plane.recreation import Recreator, Write
from serve_app.errors import BadConfig, NotReady
from serve_app.store.audit import NewAuditEntry
from serve_app.store.errors import StoreError
from serve_app.store.revisions import NewRevision, Revision, RevisionState, audit_entry
from serve_app.store.store import Store

logger = logging.getLogger(__name__)


class Journal:
    """Records and deploys revisions. One method may run at a time.

    Attributes:
        latest: The latest deployed revision; None without one, and before `recover`.
        deployed_s: When the last revision was deployed, in the event loop's time.
    """

    def __init__(self, cluster: Cluster, store: Store, write: Write, recreator: Recreator) -> None:
        self._cluster = cluster
        self._store = store
        self._write = write
        self._recreator = recreator
        self._is_recovered = False  # the store has nothing unfinished, and `latest` is true
        self.latest: Revision | None = None
        self.deployed_s = -math.inf

    async def recover(self) -> None:
        """Finish what is unfinished in the store; once, and again after a failure.

        Raises:
            NotReady: A revision that is recorded cannot be deployed yet.
        """
        if self._is_recovered:
            return
        deployed = await self._write(self._store.revisions, 1, RevisionState.DEPLOYED)
        self.latest = deployed[0] if deployed else None
        if revision := await self._recreator.recover(self.latest):
            self.latest = revision
        for newest in await self._write(self._store.revisions, 1):
            if newest.state is RevisionState.PENDING:
                await self._send_pending(newest)
        self._is_recovered = True

    async def deploy(self, new: NewRevision) -> int:
        """Record a revision and deploy it; returns its number.

        Raises:
            BadConfig: Serve rejects it; it is recorded as failed.
            NotReady: Serve cannot be reached. It is recorded, and is deployed by `recover`.
            StoreError: It is not recorded, or its acknowledgement was lost.
        """
        self._is_recovered = False
        number: int = await self._write(self._store.add_revision, new, now_ms())
        try:
            self._is_recovered = await self._send(number, new.document, audit_entry(new, number))
        except NotReady as exc:
            raise NotReady(
                f"{exc}; the change is recorded as revision {number}, and is deployed when Serve"
                " answers"
            ) from exc
        return number

    async def start_recreation(self, new: NewRevision, version: str) -> int:
        """Record a recreation and start it; returns the number of its revision."""
        self._is_recovered = False
        self.latest = await self._recreator.start(new, version)
        self._is_recovered = True
        return self.latest.number

    async def add_deployed(self, new: NewRevision) -> None:
        """Record a revision that Serve has already."""
        self._is_recovered = False
        number = await self._write(self._store.add_revision, new, now_ms())
        if self.latest and self.latest.number == number:
            self._is_recovered = True
            return
        self._is_recovered = await self._settle(
            number, RevisionState.DEPLOYED, audit_entry(new, number)
        )

    async def set_in_force(self, revision: Revision) -> None:
        """Record that a revision is in force."""
        at_ms = now_ms()
        await self._write(self._store.set_in_force, revision.number, at_ms)
        if self.latest is revision:  # another one may have been deployed meanwhile
            self.latest = replace(revision, in_force_at_ms=at_ms)

    async def _send_pending(self, revision: Revision) -> None:
        number = revision.number
        try:
            is_settled = await self._send(number, revision.document, audit_entry(revision, number))
        except BadConfig:
            return  # it is recorded as failed
        except NotReady as exc:
            raise NotReady(
                f"revision {number} is recorded and not deployed yet ({exc}); nothing else was done"
            ) from exc
        if not is_settled:
            raise NotReady(f"the store does not record that revision {number} is deployed")

    async def _send(self, number: int, document: dict[str, Any], entry: NewAuditEntry) -> bool:
        """Deploy a recorded revision; returns whether the store knows how that ended."""
        try:
            await self._cluster.deploy(document)
        except BadConfig as exc:
            failed = replace(entry, details={**entry.details, "error": str(exc)})
            self._is_recovered = await self._settle(number, RevisionState.FAILED, failed)
            raise
        self.deployed_s = asyncio.get_running_loop().time()
        return await self._settle(number, RevisionState.DEPLOYED, entry)

    async def _settle(self, number: int, state: RevisionState, entry: NewAuditEntry) -> bool:
        """Record how a revision ended; returns whether the store did. If not, it is sent again."""
        try:
            await self._write(self._store.settle_revision, number, state, entry, now_ms())
            if state is RevisionState.DEPLOYED:
                self.latest = await self._write(self._store.revision, number)
        except StoreError:
            logger.exception("revision_settle.failed", extra={"revision": number})
            return False
        return True
