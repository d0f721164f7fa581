"""Recreation: deletes the data plane, deploys it again and measures the downtime.

Each phase is saved before it starts, so that a restarted Controller continues it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from serve_app.clock import now_ms
from serve_app.control_plane.cluster import DEPLOY_FAILED, Cluster
from serve_app.control_plane.downtime import DowntimeProbe, Probe
from serve_app.control_plane.status import recreation_content
from serve_app.deployment.address import local_url
from serve_app.deployment.apply_rule import without_data_plane
from serve_app.deployment.names import DATA_PLANE
from serve_app.errors import NotReady
from serve_app.store.audit import NewAuditEntry
from serve_app.store.errors import StoreError
from serve_app.store.recreations import Phase, Recreation
from serve_app.store.revisions import NewRevision, Revision
from serve_app.store.store import Store
from serve_app.tasks import DetachedTasks

POLL_S = 0.1
DELETE_TIMEOUT_S = 120.0
BUILD_TIMEOUT_S = 900.0  # a runtime environment may have to be installed
MAX_MESSAGE_CHARACTERS = 2000
RETRY_S = 1.0

logger = logging.getLogger(__name__)

T = TypeVar("T")
Save = Callable[[Recreation], Awaitable[None]]
Write = Callable[..., Awaitable[Any]]  # calls a method of the store in the store's thread
CreateProbe = Callable[[str, Recreation], Probe]


class RecreationFailed(Exception):
    """The new data plane could not be deployed, or its downtime could not be measured."""


def create_probe(url: str, recreation: Recreation) -> Probe:
    """A probe of the service; of a continued recreation, it measures an upper bound."""
    if not recreation.is_upper_bound:
        return DowntimeProbe(url)
    if recreation.phase is Phase.TEARING_DOWN:  # the service may still be ready
        return DowntimeProbe(url, recreation.down_from_ms, recreation.started_at_ms)
    return DowntimeProbe(url, recreation.down_from_ms or recreation.started_at_ms)


class Recreator:
    """Runs at most one recreation, and saves its progress.

    Attributes:
        present: The latest recreation; None before `recover` and if there was none.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        write: Write,
        tasks: DetachedTasks,
        create_probe: CreateProbe,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._write = write
        self._tasks = tasks
        self._create_probe = create_probe
        self._task: asyncio.Task[None] | None = None
        self.present: Recreation | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def recover(self, latest: Revision | None) -> Revision | None:
        """Continue a recreation that an earlier process left unfinished; returns its revision.

        Args:
            latest: The latest deployed revision; if it is another one, the recreation has failed.
        """
        if self.is_running:
            return None
        self.present = await self._write(self._store.latest_recreation)
        if self.present is None or self.present.is_over:
            return None
        revision = await self._revision(self.present)
        if latest and latest.number != revision.number:
            message = f"revision {latest.number} was deployed meanwhile"
            self.present = replace(self.present, phase=Phase.FAILED, message=message)
            await self._save_end(self.present, revision)
            return None
        self.present = replace(self.present, is_upper_bound=True)
        reason = "continued: the Controller was restarted"
        entry = _audit_entry(self.present, revision.actor, reason)
        await self._write(self._store.save_recreation, self.present, entry, now_ms())
        self._task = self._tasks.start(self._run(self.present, revision))
        return revision

    async def start(self, new: NewRevision, version: str) -> Revision:
        """Record a recreation and start it; returns its revision.

        It is recorded first: a process that is started during the recreation continues it.

        Args:
            version: The version of the new data plane.
        """
        self.present = await self._write(self._store.start_recreation, new, version, now_ms())
        revision = await self._revision(self.present)
        self._task = self._tasks.start(self._run(self.present, revision))
        return revision

    async def _run(self, recreation: Recreation, revision: Revision) -> None:
        probe: Probe | None = None
        try:
            # Not those of the document: Serve takes other ones at its next start only.
            http = (await _retry(self._cluster.state)).config["http_options"]
            probe = self._create_probe(local_url(http["host"], http["port"]), recreation)
            end = await recreate(recreation, revision.document, self._cluster, probe, self._save)
        except Exception as exc:
            logger.exception("recreation.failed")
            end = replace(recreation, phase=Phase.FAILED, message=_text(exc))
        # A continued recreation does not know how many were refused before.
        refused = None
        if probe and not recreation.is_upper_bound:
            refused = probe.refused_requests
        await self._save_end(end, revision, refused)
        self.present = end

    async def _save_end(
        self, end: Recreation, revision: Revision, refused_requests: int | None = None
    ) -> None:
        """Save the end of a recreation, and how many requests were refused meanwhile."""
        entry = _audit_entry(end, revision.actor, revision.reason)
        entry.details["refused_requests"] = refused_requests
        logger.info("recreation.ended", extra={"recreation": entry.details})
        while True:
            try:
                await self._write(self._store.save_recreation, end, entry, now_ms())
                return
            except StoreError:
                logger.exception("recreation_end.failed")
                await asyncio.sleep(RETRY_S)

    async def _save(self, recreation: Recreation) -> None:
        self.present = recreation
        try:
            await self._write(self._store.save_recreation, recreation, None, now_ms())
        except StoreError:  # a process that is started now would repeat the phase before
            logger.exception("recreation_progress.failed")

    async def _revision(self, recreation: Recreation) -> Revision:
        revision = await self._write(self._store.revision, recreation.revision)
        assert isinstance(revision, Revision)  # noqa: S101 a foreign key
        return revision


async def recreate(
    recreation: Recreation, document: dict[str, Any], cluster: Cluster, probe: Probe, save: Save
) -> Recreation:
    """Start or continue a recreation; returns it in its last phase, which is not saved.

    The new data plane is deployed even if the old one is not deleted in time.

    Args:
        document: The deployment file of the new data plane, checked.
        probe: Measures the downtime.
        save: Saves the progress.
    """
    probing = asyncio.create_task(probe.run())
    phase, message = Phase.DONE, ""
    try:
        if recreation.phase is Phase.TEARING_DOWN:
            message = await _tear_down(document, cluster)
            recreation = replace(recreation, phase=Phase.BUILDING, down_from_ms=probe.down_from_ms)
            await save(recreation)
        await _retry(lambda: cluster.deploy(document))
        if message:
            raise RecreationFailed(
                f"{message}: the new one is deployed over it, without measuring the downtime"
            )
        await _wait_until_back(cluster, probe, probing)
    except Exception as exc:
        logger.exception("recreation.failed")
        phase, message = Phase.FAILED, _text(exc)
    finally:
        probing.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await probing
    return replace(
        recreation,
        phase=phase,
        down_from_ms=probe.down_from_ms,
        down_to_ms=probe.down_to_ms if phase is Phase.DONE else None,
        message=message,
    )


async def _tear_down(document: dict[str, Any], cluster: Cluster) -> str:
    """Delete the data plane; returns why it could not be deleted in time, or an empty text."""
    try:
        await _retry(lambda: cluster.deploy(without_data_plane(document)))
        async with asyncio.timeout(DELETE_TIMEOUT_S):
            while DATA_PLANE in (await _retry(cluster.state)).applications:
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        return f"the old data plane was not deleted within {DELETE_TIMEOUT_S:g} s"
    except Exception as exc:
        logger.exception("deletion.failed")
        return f"the old data plane could not be deleted ({exc})"
    return ""


async def _wait_until_back(cluster: Cluster, probe: Probe, probing: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(BUILD_TIMEOUT_S):
            while not probe.is_back:
                if probing.done():
                    await probing  # raises its error
                state = await _retry(cluster.state)
                application = state.applications.get(DATA_PLANE)
                if application and application.status == DEPLOY_FAILED:
                    raise RecreationFailed(
                        f"Serve could not deploy the data plane: {application.message}"
                    )
                await asyncio.sleep(POLL_S)
    except TimeoutError as exc:
        raise RecreationFailed(
            f"the data plane was not ready within {BUILD_TIMEOUT_S:g} s: serve-app revision restore"
            " goes back to an earlier revision"
        ) from exc


async def _retry(call: Callable[[], Awaitable[T]]) -> T:
    """The result of a call of the cluster; repeated while Serve cannot be reached."""
    while True:
        try:
            return await call()
        except NotReady:
            await asyncio.sleep(POLL_S)


def _text(exc: Exception) -> str:
    """The message of an error, as the store takes it: PostgreSQL stores no NUL."""
    return (str(exc) or type(exc).__name__).replace("\0", "")[:MAX_MESSAGE_CHARACTERS]


def _audit_entry(recreation: Recreation, actor: str, reason: str) -> NewAuditEntry:
    return NewAuditEntry("recreate", actor, reason, recreation_content(recreation))
