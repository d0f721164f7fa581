"""`Controller`: the store's single writer, and the only one of ours that writes Serve's
configuration."""

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
from serve_app.deployment.apply_rule import data_plane, with_rule, with_version
from serve_app.deployment.experiments import Experiments
from serve_app.errors import BadConfig, NoSuchRevision, UpdateInProgress
from serve_app.home import open_home
from serve_app.idempotency import Once
from serve_app.recording.batch import Batch
from serve_app.recording.spool import Spool
from serve_app.review_service import review
from serve_app.rules.parse import parse_rule
from serve_app.serving import serve_config
from serve_app.serving.bounded_reads import BoundedReads
from serve_app.serving.logs import flush_serve_log, join_serve_log
from serve_app.serving.recreation import Progress, is_going, is_missing, recreate
from serve_app.store.errors import StoreError
from serve_app.store.store import open_store

WATCH_INTERVAL_S = 1.0
PRUNE_INTERVAL_S = 3600.0
EXPIRE_INTERVAL_S = 60.0
READ_THREADS, MAX_READS, READ_TIMEOUT_S = 2, 16, 15.0
MAX_WRITERS = 10  # that a status lists
# What somebody did, who, and why, that deploys without us: by Ray's own command or dashboard.
NOTICED = ("deploy", "outside", "seen in Serve")
RESUMED = "controller"  # who finishes a recreation that another Controller began
P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)
_under_way: set[asyncio.Task[Any]] = set()  # asyncio itself holds tasks weakly


@dataclass(frozen=True, slots=True)
class RuleSet:
    """A rule that was sent on its way."""

    revision: int
    rule_id: str
    warnings: tuple[str, ...]


def _shielded(change: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A change that goes on when nobody waits for it any more: it is made whole, or not at all."""

    @wraps(change)
    async def made(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(change(*args, **kwargs))
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)
        return await asyncio.shield(task)

    return made


class Controller:
    """One replica. Everything that changes the store runs in one thread."""

    def __init__(self) -> None:
        join_serve_log()
        home = open_home()
        self._spool = Spool(home.folder("spool"))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._reads = BoundedReads(threads=READ_THREADS, most=MAX_READS, timeout_s=READ_TIMEOUT_S)
        self._store = open_store(home.database_url)
        self._once = Once(self._store, self._in_writer)
        self._deploying = asyncio.Lock()
        self._experiments = Experiments(home.folder("experiments"))
        self._recreating: asyncio.Task[None] | None = None
        self._recreation: Progress | None = None
        self._noticed: dict[str, Any] = {}
        self._unrecorded_change: tuple[str, str, str] | None = (
            None  # a change that Serve was told of
        )
        self._resumed = False
        self._prune_from_s = self._expire_from_s = 0.0  # in the loop's time
        self._watching = asyncio.create_task(self._watch())

    async def record(self, batch: Batch) -> None:
        """Store a batch; the same one twice is stored once."""
        await self._in_writer(self._store.record, batch)

    @_shielded
    async def deploy(self, document: dict[str, Any], actor: str, reason: str) -> int:
        """Have Serve work towards a deployment file; returns the revision's number.

        Raises:
            BadConfig: It is rejected; nothing was sent.
        """
        async with self._changes():
            return await self._deploy(document, actor, reason, "deploy")

    @_shielded
    async def set_rule(self, content: dict[str, Any], actor: str, reason: str) -> RuleSet:
        """Put a rule in force, with the pools that it needs.

        Raises:
            BadConfig: See `deploy`.
        """
        async with self._changes():
            document = await self.deployed()
            rule = parse_rule(content, _known(document))
            changed = with_rule(document, content, rule)
            number = await self._deploy(changed, actor, reason, "rule")
        return RuleSet(number, rule.rule_id, tuple(rule.warnings()))

    @_shielded
    async def update(
        self,
        version: str,
        method: str,
        runtime_env: dict[str, Any] | None,
        actor: str,
        reason: str,
    ) -> int:
        """Have a version answer everybody; returns the revision's number.

        A rolling update is Serve's to finish; `status` tells how far a recreation is.

        Args:
            method: `rolling`, replica by replica in place, or `recreate`.
            runtime_env: Ray's, of the new data plane; only with `recreate`.

        Raises:
            BadConfig: See `deploy`.
        """
        async with self._changes():
            document = await self.deployed()
            content = with_version(document, version)
            changed = with_rule(document, content, parse_rule(content, _known(document)))
            if method == "rolling":
                return await self._deploy(changed, actor, reason, "update")
            if runtime_env is not None:
                data_plane(changed)["runtime_env"] = runtime_env
            self._check(changed)
            # Numbered first: a Controller that is born while nothing is there builds this one.
            number = await self._remember(changed, actor, reason)
            self._on_progress(Progress("tearing down", version, number))
            self._recreating = asyncio.create_task(
                self._recreate(changed, version, number, actor, reason)
            )
            return number

    @_shielded
    async def restore(self, number: int, actor: str, reason: str) -> int:
        """Deploy a revision again, as a new one.

        Raises:
            NoSuchRevision: There is none of that number.
            BadConfig: See `deploy`.
        """
        revision = await self._in_writer(self._store.revision, number)
        if revision is None:
            raise NoSuchRevision(
                f"there is no revision {number}: GET /control/revisions lists them"
            )
        async with self._changes():
            return await self._deploy(revision.document, actor, reason, "restore")

    async def review(self, image_id: str, answer: str, actor: str, reason: str) -> int:
        """Keep what somebody says that an image shows; see `serve_app.review_service.review`."""
        return await self._in_writer(review, self._store, image_id, answer, actor, reason, now_ms())

    async def once(
        self, key: str, change: Literal["update", "restore", "review"], *args: Any
    ) -> int:
        """Make a change unless it was made under this key already; see `Once.make`."""
        return await self._once.make(key, [change, *args], lambda: getattr(self, change)(*args))

    async def status(self) -> dict[str, Any]:
        """Serve's applications, what was recorded, the present revision."""
        details = await asyncio.to_thread(serve_config.details)
        revisions = await self._reads.read(self._store.revisions, 1)
        recorded = await self._reads.read(self._store.recording)
        epochs = await self._reads.read(self._store.epochs, 1)
        return {
            "applications": {
                name: _application(application)
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

    async def deployed(self) -> dict[str, Any]:
        """What Serve was told last, as a deployment file."""
        return serve_config.deployed(await asyncio.to_thread(serve_config.details))

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        """Newest first."""
        return [asdict(entry) for entry in await self._reads.read(self._store.revisions, limit)]

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        """Newest first."""
        return [asdict(entry) for entry in await self._reads.read(self._store.audit, limit)]

    async def __del__(self) -> None:
        self._watching.cancel()
        await self._in_writer(self._store.close)

    async def _watch(self) -> None:
        """What is done all the time; what fails is tried again, and stops nothing else."""
        chores = {
            "resume": self._resume,
            "expire": self._expire,
            "watch": self._notice,
            "drain": self._drain,
            "prune": self._prune,
        }
        while True:
            for name, do in chores.items():
                try:
                    await do()
                except Exception:
                    logger.exception(f"{name}.failed")
            flush_serve_log()
            await asyncio.sleep(WATCH_INTERVAL_S)

    async def _drain(self) -> None:
        """Take in what stopped ingresses left behind."""
        await self._in_writer(self._spool.drain, self._store.record)

    async def _prune(self) -> None:
        """Remove what is too old: a slice each time, until nothing is left for this hour."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._prune_from_s and not await self._in_writer(self._store.prune, now_ms()):
            self._prune_from_s = now_s + PRUNE_INTERVAL_S

    async def _expire(self) -> None:
        """Remove the images whose time has come; since then nobody was shown them."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._expire_from_s:
            await self._in_writer(self._store.remove_expired, now_ms())
            self._expire_from_s = now_s + EXPIRE_INTERVAL_S

    @contextlib.asynccontextmanager
    async def _changes(self) -> AsyncIterator[None]:
        """One change at a time, and none while the data plane is away.

        Raises:
            UpdateInProgress: It is.
        """
        self._require_no_recreation()
        async with self._deploying:
            self._require_no_recreation()  # one may have begun before it was our turn
            if self._unrecorded_change:
                await self._number()  # first things first
            yield

    def _require_no_recreation(self) -> None:
        if self._recreating and not self._recreating.done():
            raise UpdateInProgress(
                "the data plane is being recreated: wait until serve-app status says it is done"
            )

    async def _deploy(self, document: dict[str, Any], actor: str, reason: str, action: str) -> int:
        """Deploy a checked document; to be called within `_changes`."""
        parsed = self._check(document)
        await asyncio.to_thread(serve_config.deploy, parsed)
        self._unrecorded_change = (action, actor, reason)
        try:
            return await self._number()
        except StoreError as exc:
            raise StoreError(
                f"the change is in force, and is recorded once the store can be used: {exc}"
            ) from exc

    async def _number(self) -> int:
        """Give what Serve was told a number, and note who did it."""
        action, actor, reason = self._unrecorded_change or NOTICED
        document = await self.deployed()
        latest = await self._in_writer(self._store.revisions, 1)
        number = await self._remember(document, actor, reason)
        if self._unrecorded_change or not latest or latest[0].number != number:
            await self._audit(action, actor, reason, {"revision": number})
        self._noticed, self._unrecorded_change = document, None
        return number

    def _check(self, document: dict[str, Any]) -> ServeDeploySchema:
        self._experiments.check(config.check(document, _known(document)))
        return serve_config.parse(document)

    async def _recreate(
        self, document: dict[str, Any], version: str, number: int, actor: str, reason: str
    ) -> None:
        try:
            async with self._deploying:
                self._recreation = await recreate(document, version, number, self._on_progress)
                self._noticed = await self.deployed()
            facts = asdict(self._recreation)
            logger.info("recreate.ended", extra={"recreation": facts})
            await self._audit("recreate", actor, reason, facts)
        except Exception:
            logger.exception("recreate.not_noted")

    def _on_progress(self, progress: Progress) -> None:
        self._recreation = progress

    async def _resume(self) -> None:
        """Once: build the data plane that a Controller before this one had torn down."""
        if self._resumed or await is_going():
            return
        latest = await self._in_writer(self._store.revisions, 1)
        if latest and await is_missing(latest[0].document):
            try:
                async with self._changes():
                    await self._deploy(
                        latest[0].document, RESUMED, "the data plane was missing", "recreate"
                    )
            except BadConfig:  # of an older program, which rejected less
                logger.exception("resume.rejected")
        self._resumed = True

    async def _notice(self) -> None:
        """Number a configuration that came without us."""
        # What is under way is noted by who does it; half a recreation is nobody's wish.
        if self._deploying.locked() or not self._resumed:
            return
        async with self._deploying:
            if self._unrecorded_change or await self.deployed() != self._noticed:
                await self._number()

    async def _remember(self, document: dict[str, Any], actor: str, reason: str) -> int:
        return await self._in_writer(self._store.add_revision, document, actor, reason, now_ms())

    async def _audit(self, action: str, actor: str, reason: str, details: dict[str, Any]) -> None:
        await self._in_writer(self._store.add_audit, action, actor, reason, details, now_ms())

    async def _in_writer(self, act: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, partial(act, *args))


def _known(document: dict[str, Any]) -> tuple[str, ...]:
    try:
        return registry.names(config.registry_folder(document))
    except ModelsError as exc:
        raise BadConfig("animals.args.registry", f"is rejected: {exc}") from exc


def _application(application: dict[str, Any]) -> dict[str, Any]:
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
