"""`Controller`: the store's single writer, and the only one of ours that writes Serve's
configuration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from models import registry
from models.errors import ModelsError
from serve_app import config
from serve_app.clock import now_ms
from serve_app.errors import BadConfig
from serve_app.home import open_home
from serve_app.recording.batch import Batch
from serve_app.recording.spool import Spool
from serve_app.serving import serve_config
from serve_app.serving.logs import flush_serve_log, join_serve_log
from serve_app.store.store import open_store

WATCH_INTERVAL_S = 1.0
MAX_WRITERS = 10  # that a status lists
OUTSIDE = "outside"  # who deploys without us: Ray's own command or dashboard
T = TypeVar("T")

logger = logging.getLogger(__name__)


class Controller:
    """One replica. Everything that touches the store runs in one thread."""

    def __init__(self) -> None:
        join_serve_log()
        home = open_home()
        self._spool = Spool(home.folder("spool"))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store = open_store(home.database_url)
        self._deploying = asyncio.Lock()
        self._noticed: dict[str, Any] = {}
        self._watching = asyncio.create_task(self._watch())

    async def record(self, batch: Batch) -> None:
        """Store a batch; the same one twice is stored once."""
        await self._in_writer(self._store.record, batch)

    async def deploy(self, document: dict[str, Any], actor: str, reason: str) -> int:
        """Have Serve work towards a deployment file; returns the revision's number.

        Raises:
            BadConfig: It is refused; nothing was sent.
        """
        parsed = serve_config.parse(document)
        try:
            known = registry.names(config.registry_folder(document))
        except ModelsError as exc:
            raise BadConfig("animals.args.registry", f"is refused: {exc}") from exc
        config.check(document, known)
        async with self._deploying:
            await asyncio.to_thread(serve_config.deploy, parsed)
            document_in_serve = await self.deployed()
            number = await self._remember(document_in_serve, actor, reason)
            self._noticed = document_in_serve
        await self._audit("deploy", actor, reason, {"revision": number})
        return number

    async def status(self) -> dict[str, Any]:
        """Serve's applications, what was recorded, the present revision."""
        details = await asyncio.to_thread(serve_config.details)
        revisions = await self._in_writer(self._store.revisions, 1)
        recorded = await self._in_writer(self._store.recording)
        epochs = await self._in_writer(self._store.epochs, 1)
        return {
            "applications": {
                name: _application(application)
                for name, application in details["applications"].items()
            },
            "revision": revisions[0].number if revisions else None,
            "epoch": asdict(epochs[0]) if epochs else None,
            "recording": {
                "stored": recorded.stored,
                "dropped": recorded.dropped,
                "missing": recorded.missing,
                "writers": [asdict(writer) for writer in recorded.writers[:MAX_WRITERS]],
            },
        }

    async def deployed(self) -> dict[str, Any]:
        """What Serve was told last, as a deployment file."""
        return serve_config.deployed(await asyncio.to_thread(serve_config.details))

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        """Newest first."""
        return [asdict(entry) for entry in await self._in_writer(self._store.revisions, limit)]

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        """Newest first."""
        return [asdict(entry) for entry in await self._in_writer(self._store.audit, limit)]

    async def __del__(self) -> None:
        self._watching.cancel()
        await self._in_writer(self._store.close)

    async def _watch(self) -> None:
        """Notice what was deployed without us, and take in what stopped ingresses left behind."""
        while True:
            try:
                await self._notice()
            except Exception:
                logger.exception("watch.failed")
            try:
                await self._in_writer(self._spool.drain, self._store.record)
            except Exception:
                logger.exception("drain.failed")
            flush_serve_log()
            await asyncio.sleep(WATCH_INTERVAL_S)

    async def _notice(self) -> None:
        """Number a configuration that came without us."""
        async with self._deploying:
            document = await self.deployed()
            if document == self._noticed:
                return
            latest = await self._in_writer(self._store.revisions, 1)
            number = await self._remember(document, OUTSIDE, "seen in Serve")
            self._noticed = document
        if not latest or latest[0].number != number:
            await self._audit("deploy", OUTSIDE, "seen in Serve", {"revision": number})

    async def _remember(self, document: dict[str, Any], actor: str, reason: str) -> int:
        return await self._in_writer(self._store.add_revision, document, actor, reason, now_ms())

    async def _audit(self, action: str, actor: str, reason: str, details: dict[str, Any]) -> None:
        await self._in_writer(self._store.add_audit, action, actor, reason, details, now_ms())

    async def _in_writer(self, act: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, partial(act, *args))


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
