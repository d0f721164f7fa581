"""`ControlApi`: the HTTP of the control plane, in a replica.

It reads from the store. It hands every change to the Controller.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serve_app.errors import BadConfig, NotReady, Problem, RejectedConfig, TooSlow
from serve_app.home import open_home
from serve_app.http.control_plane import application
from serve_app.http.session import Authenticator
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.serving.bounded_reads import BoundedReads
from serve_app.serving.logs import join_serve_log
from serve_app.store.errors import StoreError
from serve_app.tasks import was_cancelled
from serve_app.trace import Trace

if TYPE_CHECKING:
    from serve_app.reports.service import ReportService
    from serve_app.review_service import ReviewService

CALL_TIMEOUT_S = 20.0
READ_THREADS, MAX_READS, READ_TIMEOUT_S = 4, 16, 60.0

logger = logging.getLogger(__name__)


class ControlApi:
    """Implements `serve_app.http.control_plane.ControlPlane` over the Controller's handle."""

    def __init__(self, controller: DeploymentHandle[Any]) -> None:
        join_serve_log()
        self._controller = controller
        self._reads = BoundedReads(threads=READ_THREADS, most=MAX_READS, timeout_s=READ_TIMEOUT_S)
        home = open_home()
        self._database_url = home.database_url
        for left in home.folder("exports").iterdir():  # by clients that did not wait
            left.unlink(missing_ok=True)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return application(self, Authenticator(open_home().token), _log, _nothing_beside)

    async def status(self) -> dict[str, Any]:
        """See `Controller.status`."""
        return await self._ask("status")  # type: ignore[no-any-return]

    async def deployed(self) -> dict[str, Any]:
        """See `Controller.deployed`."""
        return await self._ask("deployed")  # type: ignore[no-any-return]

    async def deploy(self, document: dict[str, Any], actor: str, reason: str) -> int:
        """See `Controller.deploy`."""
        return await self._ask("deploy", document, actor, reason)  # type: ignore[no-any-return]

    async def set_rule(self, content: dict[str, Any], actor: str, reason: str) -> dict[str, Any]:
        """See `Controller.set_rule`."""
        return asdict(await self._ask("set_rule", content, actor, reason))

    async def update(
        self,
        version: str,
        method: str,
        runtime_env: dict[str, Any] | None,
        actor: str,
        reason: str,
        key: str | None,
    ) -> int:
        """See `Controller.update`."""
        return await self._change(key, "update", version, method, runtime_env, actor, reason)

    async def restore(self, number: int, actor: str, reason: str, key: str | None) -> int:
        """See `Controller.restore`."""
        return await self._change(key, "restore", number, actor, reason)

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        """See `Controller.revisions`."""
        return await self._ask("revisions", limit)  # type: ignore[no-any-return]

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        """See `Controller.audit`."""
        return await self._ask("audit", limit)  # type: ignore[no-any-return]

    @cached_property
    def _reports(self) -> ReportService:
        # It loads scipy, for a second that the first report can wait and a start cannot.
        from serve_app.reports.service import ReportService

        return ReportService(self._database_url)

    async def report(
        self, name: str, since: str | None, region: str | None, experiment: str | None
    ) -> dict[str, Any]:
        """See `ReportService.make`; the Controller is not asked."""
        return await self._reads.read(lambda: self._reports.make(name, since, region, experiment))

    async def export(self, table: str, kind: str, since: str) -> Path:
        """See `ReportService.export`; who asks removes the file, unless he did not wait for it."""
        try:
            folder = open_home().folder("exports")
            return await self._reads.read(
                lambda: self._reports.export(table, kind, since, folder), discard=_remove
            )
        except OSError as exc:
            raise NotReady(
                f"the export cannot be written ({exc.strerror or exc}): make room for it in the"
                " home directory, or ask for a shorter period"
            ) from exc

    @cached_property
    def _reviews(self) -> ReviewService:
        # It loads SQLAlchemy and Alembic, which a start can do without as well.
        from serve_app.review_service import ReviewService

        return ReviewService(self._database_url, ImageCipher(open_home().image_key))

    async def disagreements(self, limit: int, reviewed: bool) -> dict[str, Any]:
        """See `ReviewService.disagreements`."""
        return await self._reads.read(lambda: self._reviews.disagreements(limit, reviewed))

    async def disagreement(self, image_id: str) -> dict[str, Any]:
        """See `ReviewService.disagreement`."""
        return await self._reads.read(lambda: self._reviews.disagreement(image_id))

    async def image(self, image_id: str) -> bytes:
        """See `ReviewService.image`."""
        return await self._reads.read(lambda: self._reviews.image(image_id))

    async def review(
        self, image_id: str, answer: str, actor: str, reason: str, key: str | None
    ) -> dict[str, Any]:
        """See `serve_app.review_service.review`; then what the versions had said."""
        await self._change(key, "review", image_id, answer, actor, reason)
        return await self.disagreement(image_id)

    async def _change(self, key: str | None, change: str, *args: Any) -> int:
        """The number of the revision, or of the review, that it makes; see `Controller.once`."""
        named = (change, *args) if key is None else ("once", key, change, *args)
        return await self._ask(*named)  # type: ignore[no-any-return]

    async def _ask(self, method: str, *args: Any) -> Any:
        call = getattr(self._controller, method)
        try:
            return await asyncio.wait_for(call.remote(*args), CALL_TIMEOUT_S)
        except TimeoutError as exc:
            raise TooSlow(f"the Controller did not answer within {CALL_TIMEOUT_S:g} s") from exc
        except (DeploymentUnavailableError, RayActorError, asyncio.CancelledError) as exc:
            if was_cancelled():
                raise
            raise NotReady("the Controller cannot be reached: try again in a second") from exc
        except BadConfig as exc:
            raise RejectedConfig(_text(exc)) from exc
        except StoreError as exc:
            raise NotReady(_text(exc)) from exc
        except RayTaskError as exc:  # without gRPC, a Problem of the Controller comes wrapped
            if isinstance(exc.cause, Problem):
                raise exc.cause from exc
            raise


def _text(exc: Exception) -> str:
    """What an error says; without gRPC, Ray wraps it in one that says its traceback."""
    return str(getattr(exc, "cause", None) or exc)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _log(trace: Trace) -> None:
    logger.info(
        "control.request",
        extra={
            "request_id": trace.request_id,
            "method": trace.method,
            "path": trace.path,
            "status": trace.status,
            "latency_ms": trace.latency_ms,
            "log_to_stderr": False,
        },
    )


@contextlib.asynccontextmanager
async def _nothing_beside(_: FastAPI) -> AsyncIterator[None]:
    yield
