"""`ControlPlane`: makes changes, one at a time, and keeps the store.

A change is recorded before it is deployed. If the process stops in between, the next one deploys
it: a change is made whole or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

from models import registry
from models.errors import ModelsError
from serve_app.clock import now_ms
from serve_app.control_plane import status
from serve_app.control_plane.changes import (
    Applied,
    Change,
    ConfigChange,
    Restore,
    Review,
    Update,
    compose,
)
from serve_app.control_plane.cluster import DELETING, Cluster, ClusterState
from serve_app.control_plane.convergence import TROUBLES, Code, Convergence, Lacking, assess
from serve_app.control_plane.journal import Journal
from serve_app.control_plane.preview import Preview, preview
from serve_app.control_plane.recreation import CreateProbe, Recreator, create_probe
from serve_app.control_plane.reviews import add_review
from serve_app.data_plane.card_cache import CardCache
from serve_app.deployment import config
from serve_app.deployment.experiments import Experiments
from serve_app.deployment.names import DATA_PLANE
from serve_app.digest import json_digest
from serve_app.errors import (
    BadConfig,
    NoSuchRevision,
    NotReady,
    RejectedConfig,
    Superseded,
    UpdateInProgress,
)
from serve_app.recording.batch import Batch
from serve_app.rules.rule import Rule
from serve_app.store.bounded_reads import BoundedReads
from serve_app.store.errors import StoreError
from serve_app.store.revisions import NewRevision, Revision, RevisionKind
from serve_app.store.store import Store
from serve_app.tasks import DetachedTasks

READ_THREADS, MAX_READS, READ_TIMEOUT_S = 2, 16, 15.0
SETTLE_S = 1.0  # Serve may report the old state for as long after a deployment

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Current:
    """The state of the cluster, its configuration, and the latest deployed revision.

    Attributes:
        document: The revision's if Serve has it, or else what Serve has.
    """

    state: ClusterState
    revision: Revision | None
    document: dict[str, Any]
    is_recorded: bool


class ControlPlane:
    """The control plane of a cluster. All writes to the store run in one thread."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        experiments: Experiments,
        create_probe: CreateProbe = create_probe,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._experiments = experiments
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._reads = BoundedReads(
            threads=READ_THREADS, max_reads=MAX_READS, timeout_s=READ_TIMEOUT_S
        )
        self._lock = asyncio.Lock()
        self._tasks = DetachedTasks()
        self._recreator = Recreator(cluster, store, self.write, self._tasks, create_probe)
        self._journal = Journal(cluster, store, self.write, self._recreator)

    async def record(self, batch: Batch) -> None:
        """Store a batch; a repeated batch is stored once."""
        await self.write(self._store.record, batch)

    async def apply(self, change: Change) -> Applied:
        """Make a change. It completes although the caller is cancelled.

        Raises:
            RejectedConfig: The change is rejected, and nothing is deployed.
            NoSuchRevision: There is no such revision.
            Superseded: Another revision was deployed since `base_revision`.
            UpdateInProgress: The data plane is being recreated.
            NotReady: Serve or the store cannot be reached. The detail says whether the change is
                recorded; if not, nothing is deployed.
            BadReview, AlreadyReviewed, NoSuchImage: See `add_review`.
        """
        with _problems():
            return await self._tasks.run(self._apply(change))

    async def preview(self, change: ConfigChange) -> Preview:
        """What a change would do; errors as of `apply`."""
        self._require_no_recreation()
        with _problems():
            current = await self._current()
            document = await self._compose(change, current)
            self._check(document)
        cards = CardCache(config.registry_folder(document))
        return preview(
            current.document,
            document,
            cards.labels,
            cards.faults,
            base_revision=current.revision.number if current.revision else None,
            recreates=change.kind == "recreate",
        )

    async def status(self) -> dict[str, Any]:
        """The state of the service as JSON; see `serve_app.control_plane.status`."""
        current = await self._current()
        convergence = await self._converge(current)
        with _problems():  # a start after this answer must find it in force
            await self._record_convergence(current, convergence)
        epochs = await self._reads.read(self._store.epochs, 1)
        return status.content(
            current.state,
            convergence,
            current.revision,
            epochs[0] if epochs else None,
            self._recreator.present,
            await self._reads.read(self._store.recording),
        )

    async def deployment(self) -> dict[str, Any]:
        """The deployed configuration, as a deployment file."""
        return (await self._current()).document

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        """The revisions without their documents, newest first."""
        found = await self._reads.read(self._store.revisions, limit)
        return [status.revision_content(revision, self._journal.latest) for revision in found]

    async def revision(self, number: int) -> dict[str, Any]:
        """A revision with its document.

        Raises:
            NoSuchRevision: There is none with the number.
        """
        with _problems():
            revision = await self._find_revision(number)
        return {
            **status.revision_content(revision, self._journal.latest),
            "document": revision.document,
        }

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        """The audit entries, newest first."""
        return [asdict(entry) for entry in await self._reads.read(self._store.audit, limit)]

    async def recover(self) -> None:
        """Continue what an earlier process left unfinished; does so once."""
        async with self._lock:
            await self._journal.recover()

    async def record_outside_change(self) -> None:
        """Record a configuration that was deployed without the control plane."""
        if self._lock.locked() or self._recreator.is_running:
            return
        async with self._lock:
            await self._journal.recover()
            await self._record_outside_change()

    async def record_convergence(self) -> None:
        """Record that the latest revision is in force, once it is."""
        if self._journal.latest and self._journal.latest.in_force_at_ms is None:
            current = await self._current()
            await self._record_convergence(current, await self._converge(current))

    async def write(self, function: Callable[..., T], *args: Any) -> T:
        """Call a method of the store in the store's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, partial(function, *args))

    async def close(self) -> None:
        """End all work and close the store."""
        await self._tasks.cancel()
        await self.write(self._store.close)
        self._writer.shutdown()

    async def _apply(self, change: Change) -> Applied:
        if isinstance(change, Review):
            return Applied(await self.write(add_review, self._store, change, now_ms()))
        assert isinstance(change, ConfigChange)  # noqa: S101 there is no other change
        async with self._exclusive():
            current = await self._current()
            present = current.revision.number if current.revision else None
            if change.base_revision not in (None, present):
                raise Superseded(
                    f"revision {present} was deployed after revision {change.base_revision}:"
                    " look at it, then repeat the change"
                )
            document = await self._compose(change, current)
            rule = self._check(document)
            new = NewRevision(RevisionKind(change.kind), document, change.actor, change.reason)
            if isinstance(change, Update) and change.method == "recreate":
                number = await self._journal.start_recreation(new, change.version)
            else:
                number = await self._journal.deploy(new)
        return Applied(number, rule.rule_id, tuple(rule.warnings()))

    @contextlib.asynccontextmanager
    async def _exclusive(self) -> AsyncIterator[None]:
        """Allows one change at a time, and none during a recreation.

        Raises:
            UpdateInProgress: The data plane is being recreated.
        """
        async with self._lock:
            await self._journal.recover()
            self._require_no_recreation()
            await self._record_outside_change()
            yield

    def _require_no_recreation(self) -> None:
        if self._recreator.is_running:
            raise UpdateInProgress(
                "the data plane is being recreated: wait until serve-app status shows it as done"
            )

    async def _record_outside_change(self) -> None:
        current = await self._current()
        application = current.state.applications.get(DATA_PLANE)
        # Without a data plane, it is the end of the service or an unusable configuration.
        if current.is_recorded or not application or application.status == DELETING:
            return
        if not any(a["name"] == DATA_PLANE for a in current.document["applications"]):
            return  # Serve does not report its configuration yet
        await self._journal.add_deployed(
            NewRevision(
                RevisionKind.OUTSIDE,
                current.document,
                "outside",
                "deployed with Ray's command or dashboard",
            )
        )

    async def _record_convergence(self, current: _Current, convergence: Convergence) -> None:
        revision = current.revision
        if convergence.in_force and revision and revision.in_force_at_ms is None:
            await self._journal.set_in_force(revision)

    async def _compose(self, change: ConfigChange, current: _Current) -> dict[str, Any]:
        restored = None
        if isinstance(change, Restore):
            restored = (await self._find_revision(change.revision)).document
        return compose(change, current.document, restored, _known_versions(current.document))

    def _check(self, document: dict[str, Any]) -> Rule:
        rule = config.check(document, _known_versions(document))
        self._experiments.check(rule)
        self._cluster.normalize(document)
        return rule

    async def _current(self) -> _Current:
        state = await self._cluster.state()
        latest = self._journal.latest
        if latest and self._is_deployed(latest, state):
            return _Current(state, latest, latest.document, is_recorded=True)
        return _Current(state, latest, state.config, is_recorded=False)

    def _is_deployed(self, revision: Revision, state: ClusterState) -> bool:
        """Whether Serve has the applications of a revision."""
        deployed = state.config["applications"]
        if json_digest(revision.document["applications"]) == json_digest(deployed):
            return True
        try:
            return bool(self._cluster.normalize(revision.document)["applications"] == deployed)
        except BadConfig:  # of another version of the program, or deployed without our checks
            return False

    async def _converge(self, current: _Current) -> Convergence:
        if self._recreator.is_running and (present := self._recreator.present):
            text = f"recreating the data plane with {present.version}"
            phase = present.phase.replace("_", " ")
            return Convergence((Lacking(Code.RECREATING, f"{text}: {phase}"),))
        convergence = assess(current.state, await self._cluster.replicas())
        if asyncio.get_running_loop().time() - self._journal.deployed_s < SETTLE_S:
            # Troubles may be those of the state before.
            progress = (item for item in convergence.lacking if item.code not in TROUBLES)
            return Convergence((*progress, Lacking(Code.DEPLOYING, "Serve has just got it")))
        if current.is_recorded:
            return convergence
        unrecorded = Lacking(Code.NOT_RECORDED, "the deployed configuration has no revision yet")
        return Convergence((*convergence.lacking, unrecorded))

    async def _find_revision(self, number: int) -> Revision:
        revision = await self._reads.read(self._store.revision, number)
        if revision is None:
            raise NoSuchRevision(
                f"there is no revision {number}: serve-app revision list shows them"
            )
        return revision


@contextlib.contextmanager
def _problems() -> Iterator[None]:
    """Raise errors of configurations and of the store as problems, with the same text."""
    try:
        yield
    except BadConfig as exc:
        raise RejectedConfig(str(exc)) from exc
    except StoreError as exc:
        raise NotReady(str(exc)) from exc


def _known_versions(document: dict[str, Any]) -> tuple[str, ...]:
    try:
        return registry.names(config.registry_folder(document))
    except ModelsError as exc:
        raise BadConfig("animals.args.registry", f"is rejected: {exc}") from exc
