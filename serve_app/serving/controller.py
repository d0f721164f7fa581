"""`Controller`: the only writer of the store and of Serve's configuration."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial, wraps
from typing import Any, Literal, ParamSpec, TypeVar

from ray.serve.schema import ServeDeploySchema

from models import registry
from models.errors import ModelsError
from serve_app.clock import now_ms
from serve_app.deployment import config
from serve_app.deployment.apply_rule import data_plane, single_rule, with_rule
from serve_app.deployment.experiments import Experiments
from serve_app.errors import BadConfig, NoSuchRevision, UpdateInProgress
from serve_app.home import open_home
from serve_app.idempotency import IdempotentChanges
from serve_app.recording.batch import Batch
from serve_app.recording.spool import Spool
from serve_app.review_service import add_review
from serve_app.rules.parse import parse_rule
from serve_app.serving import serve_config
from serve_app.serving.bounded_reads import BoundedReads
from serve_app.serving.logs import flush_serve_log, join_serve_log
from serve_app.serving.recreation import Progress, is_being_deleted, is_missing, recreate
from serve_app.store.errors import StoreError
from serve_app.store.store import open_store

CHORE_INTERVAL_S = 1.0
PRUNE_INTERVAL_S = 3600.0
EXPIRE_INTERVAL_S = 60.0
READ_THREADS, MAX_READS, READ_TIMEOUT_S = 2, 16, 15.0
MAX_WRITERS = 10  # listed in a status
# Action, actor and reason of a deployment by `serve deploy` or by Ray's dashboard.
OUTSIDE_CHANGE = ("deploy", "outside", "seen in Serve")
RESUME_ACTOR = "controller"  # the actor of a recreation that a restarted Controller resumes
P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)
_running_changes: set[asyncio.Task[Any]] = set()  # asyncio has only weak references to tasks


@dataclass(frozen=True, slots=True)
class SetRuleResult:
    """The result of `Controller.set_rule`."""

    revision: int
    rule_id: str
    warnings: tuple[str, ...]


def _shielded(change: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run a change in a task that is not cancelled when its caller is, so that it completes."""

    @wraps(change)
    async def shielded(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(change(*args, **kwargs))
        _running_changes.add(task)
        task.add_done_callback(_running_changes.discard)
        return await asyncio.shield(task)

    return shielded


class Controller:
    """A deployment of one replica. All writes to the store run in one thread."""

    def __init__(self) -> None:
        join_serve_log()
        home = open_home()
        self._spool = Spool(home.folder("spool"))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._reads = BoundedReads(
            threads=READ_THREADS, max_reads=MAX_READS, timeout_s=READ_TIMEOUT_S
        )
        self._store = open_store(home.database_url)
        self._idempotent_changes = IdempotentChanges(self._store, self._in_writer)
        self._change_lock = asyncio.Lock()
        self._experiments = Experiments(home.folder("experiments"))
        self._recreation_task: asyncio.Task[None] | None = None
        self._recreation: Progress | None = None
        self._recorded_document: dict[str, Any] = {}  # of the latest revision
        # Action, actor and reason of a change that is deployed and not recorded yet.
        self._unrecorded_change: tuple[str, str, str] | None = None
        self._has_resumed = False
        self._next_prune_s = self._next_expiry_s = 0.0  # in the event loop's time
        self._chores = asyncio.create_task(self._run_chores())

    async def record(self, batch: Batch) -> None:
        """Store a batch; a repeated batch is stored once."""
        await self._in_writer(self._store.record, batch)

    @_shielded
    async def deploy(self, document: dict[str, Any], actor: str, reason: str) -> int:
        """Deploy a deployment file; returns the number of the revision.

        Raises:
            BadConfig: The file is rejected, and nothing is deployed.
            UpdateInProgress: The data plane is being recreated.
        """
        async with self._exclusive_change():
            return await self._deploy(document, actor, reason, "deploy")

    @_shielded
    async def set_rule(self, content: dict[str, Any], actor: str, reason: str) -> SetRuleResult:
        """Deploy a rule, with the pools that it needs.

        Raises:
            BadConfig: The rule is rejected, and nothing is deployed.
            UpdateInProgress: The data plane is being recreated.
        """
        async with self._exclusive_change():
            document = await self.deployment()
            rule = parse_rule(content, _known_versions(document))
            changed = with_rule(document, content, rule)
            number = await self._deploy(changed, actor, reason, "rule")
        return SetRuleResult(number, rule.rule_id, tuple(rule.warnings()))

    @_shielded
    async def update(
        self,
        version: str,
        method: str,
        runtime_env: dict[str, Any] | None,
        actor: str,
        reason: str,
    ) -> int:
        """Deploy a version for all users; returns the number of the revision.

        The update continues after the return; `status` has the progress of a recreation.

        Args:
            method: `rolling`, replica by replica in place, or `recreate`.
            runtime_env: Ray's runtime environment of the new data plane; only with `recreate`.

        Raises:
            BadConfig: The update is rejected, and nothing is deployed.
            UpdateInProgress: The data plane is being recreated.
        """
        async with self._exclusive_change():
            document = await self.deployment()
            content = single_rule(document, version)
            changed = with_rule(document, content, parse_rule(content, _known_versions(document)))
            if method == "rolling":
                return await self._deploy(changed, actor, reason, "update")
            if runtime_env is not None:
                data_plane(changed)["runtime_env"] = runtime_env
            self._check(changed)
            # Recorded first: a Controller that restarts during the recreation resumes it from here.
            number = await self._add_revision(changed, actor, reason)
            self._on_progress(Progress("tearing down", version, number))
            self._recreation_task = asyncio.create_task(
                self._recreate(changed, version, number, actor, reason)
            )
            return number

    @_shielded
    async def restore(self, number: int, actor: str, reason: str) -> int:
        """Deploy a revision again, as a new one.

        Raises:
            NoSuchRevision: No revision has the number.
            BadConfig: The revision is rejected, and nothing is deployed.
            UpdateInProgress: The data plane is being recreated.
        """
        revision = await self._in_writer(self._store.revision, number)
        if revision is None:
            raise NoSuchRevision(
                f"there is no revision {number}: GET /control/revisions lists them"
            )
        async with self._exclusive_change():
            return await self._deploy(revision.document, actor, reason, "restore")

    async def add_review(self, image_id: str, answer: str, actor: str, reason: str) -> int:
        """Record a review; see `serve_app.review_service.add_review`."""
        return await self._in_writer(
            add_review, self._store, image_id, answer, actor, reason, now_ms()
        )

    async def change_once(
        self, key: str, change: Literal["update", "restore", "add_review"], *args: Any
    ) -> int:
        """Make a change once per idempotency key; see `IdempotentChanges.make`."""
        method = getattr(self, change)
        return await self._idempotent_changes.make(key, [change, *args], lambda: method(*args))

    async def status(self) -> dict[str, Any]:
        """Serve's applications, the revision, epoch, recreation, and the counts of records."""
        details = await asyncio.to_thread(serve_config.details)
        revisions = await self._reads.read(self._store.revisions, 1)
        recorded = await self._reads.read(self._store.recording)
        epochs = await self._reads.read(self._store.epochs, 1)
        return {
            "applications": {
                name: _application_status(application)
                for name, application in details["applications"].items()
            },
            "revision": revisions[0].number if revisions else None,
            "epoch": asdict(epochs[0]) if epochs else None,
            "recreation": asdict(self._recreation) if self._recreation else None,
            "recording": {
                "stored": recorded.stored,
                "dropped": recorded.dropped,
                "missing": recorded.missing,
                "rejected": recorded.rejected,
                "shadow_pairs": recorded.pairs,
                "dropped_shadow_pairs": recorded.dropped_pairs,
                "shadow": recorded.outcomes,
                "writers": [asdict(writer) for writer in recorded.writers[:MAX_WRITERS]],
            },
        }

    async def deployment(self) -> dict[str, Any]:
        """The configuration that was deployed last, as a deployment file."""
        return serve_config.deployed_config(await asyncio.to_thread(serve_config.details))

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        """The revisions, newest first."""
        return [asdict(entry) for entry in await self._reads.read(self._store.revisions, limit)]

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        """The audit entries, newest first."""
        return [asdict(entry) for entry in await self._reads.read(self._store.audit, limit)]

    async def __del__(self) -> None:
        self._chores.cancel()
        await self._in_writer(self._store.close)

    async def _run_chores(self) -> None:
        """Run all chores once a second; a chore that fails is retried and stops no other."""
        chores = {
            "resume_recreation": self._resume_recreation,
            "remove_expired_images": self._remove_expired_images,
            "record_outside_change": self._record_outside_change,
            "drain_spool": self._drain_spool,
            "prune_rows": self._prune_rows,
        }
        while True:
            for name, run in chores.items():
                try:
                    await run()
                except Exception:
                    logger.exception("chore.failed", extra={"chore": name})
            flush_serve_log()
            await asyncio.sleep(CHORE_INTERVAL_S)

    async def _drain_spool(self) -> None:
        """Store the batches that ingresses wrote to the spool."""
        await self._in_writer(self._spool.drain, self._store.record)

    async def _prune_rows(self) -> None:
        """Remove old rows, one slice per call; pause for an hour when none is left."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._next_prune_s and not await self._in_writer(self._store.prune, now_ms()):
            self._next_prune_s = now_s + PRUNE_INTERVAL_S

    async def _remove_expired_images(self) -> None:
        """Remove expired images, once a minute; they are not shown after their expiry."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._next_expiry_s:
            await self._in_writer(self._store.remove_expired, now_ms())
            self._next_expiry_s = now_s + EXPIRE_INTERVAL_S

    @contextlib.asynccontextmanager
    async def _exclusive_change(self) -> AsyncIterator[None]:
        """Allows one change at a time, and none during a recreation.

        Raises:
            UpdateInProgress: The data plane is being recreated.
        """
        self._require_no_recreation()
        async with self._change_lock:
            self._require_no_recreation()  # it may have started while this waited
            if self._unrecorded_change:
                await self._record_revision()  # of the previous change
            yield

    def _require_no_recreation(self) -> None:
        if self._recreation_task and not self._recreation_task.done():
            raise UpdateInProgress(
                "the data plane is being recreated: wait until serve-app status shows it as done"
            )

    async def _deploy(self, document: dict[str, Any], actor: str, reason: str, action: str) -> int:
        """Check, deploy and record a document; must be called within `_exclusive_change`."""
        configuration = self._check(document)
        await asyncio.to_thread(serve_config.deploy, configuration)
        self._unrecorded_change = (action, actor, reason)
        try:
            return await self._record_revision()
        except StoreError as exc:
            raise StoreError(
                f"the change is deployed, and will be recorded when the store is available: {exc}"
            ) from exc

    async def _record_revision(self) -> int:
        """Record the deployed configuration as a revision, with an audit entry."""
        action, actor, reason = self._unrecorded_change or OUTSIDE_CHANGE
        document = await self.deployment()
        latest = await self._in_writer(self._store.revisions, 1)
        number = await self._add_revision(document, actor, reason)
        if self._unrecorded_change or not latest or latest[0].number != number:
            await self._audit(action, actor, reason, {"revision": number})
        self._recorded_document, self._unrecorded_change = document, None
        return number

    def _check(self, document: dict[str, Any]) -> ServeDeploySchema:
        self._experiments.check(config.check(document, _known_versions(document)))
        return serve_config.parse(document)

    async def _recreate(
        self, document: dict[str, Any], version: str, number: int, actor: str, reason: str
    ) -> None:
        try:
            async with self._change_lock:
                self._recreation = await recreate(document, version, number, self._on_progress)
                self._recorded_document = await self.deployment()
            details = asdict(self._recreation)
            logger.info("recreation.ended", extra={"recreation": details})
            await self._audit("recreate", actor, reason, details)
        except Exception:
            logger.exception("recreation_audit.failed")

    def _on_progress(self, progress: Progress) -> None:
        self._recreation = progress

    async def _resume_recreation(self) -> None:
        """Deploy the latest revision if a Controller stopped during its recreation; runs once."""
        if self._has_resumed or await is_being_deleted():
            return
        latest = await self._in_writer(self._store.revisions, 1)
        if latest and await is_missing(latest[0].document):
            try:
                async with self._exclusive_change():
                    await self._deploy(
                        latest[0].document, RESUME_ACTOR, "the data plane was missing", "recreate"
                    )
            except BadConfig:  # the revision is of an older version of the program
                logger.exception("recreation_resume.rejected")
        self._has_resumed = True

    async def _record_outside_change(self) -> None:
        """Record a configuration that was deployed without the Controller."""
        # A running change records itself; a half-finished recreation is not a revision.
        if self._change_lock.locked() or not self._has_resumed:
            return
        async with self._change_lock:
            if self._unrecorded_change or await self.deployment() != self._recorded_document:
                await self._record_revision()

    async def _add_revision(self, document: dict[str, Any], actor: str, reason: str) -> int:
        return await self._in_writer(self._store.add_revision, document, actor, reason, now_ms())

    async def _audit(self, action: str, actor: str, reason: str, details: dict[str, Any]) -> None:
        await self._in_writer(self._store.add_audit, action, actor, reason, details, now_ms())

    async def _in_writer(self, function: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, partial(function, *args))


def _known_versions(document: dict[str, Any]) -> tuple[str, ...]:
    try:
        return registry.names(config.registry_folder(document))
    except ModelsError as exc:
        raise BadConfig("animals.args.registry", f"is rejected: {exc}") from exc


def _application_status(application: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": application["status"],
        "message": application["message"],
        "deployments": {
            name: {
                "status": deployment["status"],
                "message": deployment["message"],
                "target": deployment["target_num_replicas"],
                "replicas": [
                    {"replica": r["replica_id"], "state": r["state"], "pid": r.get("pid")}
                    for r in deployment["replicas"]
                ],
            }
            for name, deployment in application["deployments"].items()
        },
    }
