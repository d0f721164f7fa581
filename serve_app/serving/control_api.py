"""`ControlApi`: a replica that serves the HTTP API of the control plane.

It reads from the store itself, and sends every change to the Controller.
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
    """Implements `serve_app.http.control_plane.ControlPlane` with the Controller's handle."""

    def __init__(self, controller: DeploymentHandle[Any]) -> None:
        join_serve_log()
        self._controller = controller
        self._reads = BoundedReads(
            threads=READ_THREADS, max_reads=MAX_READS, timeout_s=READ_TIMEOUT_S
        )
        home = open_home()
        self._database_url = home.database_url
        for leftover in home.folder("exports").iterdir():  # of clients that disconnected
            leftover.unlink(missing_ok=True)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return application(
            self, Authenticator(open_home().token), _log_request, _no_background_tasks
        )

    async def status(self) -> dict[str, Any]:
        return await self._call_controller("status")  # type: ignore[no-any-return]

    async def deployment(self) -> dict[str, Any]:
        return await self._call_controller("deployment")  # type: ignore[no-any-return]

    async def deploy(self, document: dict[str, Any], actor: str, reason: str) -> int:
        return await self._call_controller("deploy", document, actor, reason)  # type: ignore[no-any-return]

    async def set_rule(self, content: dict[str, Any], actor: str, reason: str) -> dict[str, Any]:
        return asdict(await self._call_controller("set_rule", content, actor, reason))

    async def update(
        self,
        version: str,
        method: str,
        runtime_env: dict[str, Any] | None,
        actor: str,
        reason: str,
        key: str | None,
    ) -> int:
        return await self._make_change(key, "update", version, method, runtime_env, actor, reason)

    async def restore(self, number: int, actor: str, reason: str, key: str | None) -> int:
        return await self._make_change(key, "restore", number, actor, reason)

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        return await self._call_controller("revisions", limit)  # type: ignore[no-any-return]

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        return await self._call_controller("audit", limit)  # type: ignore[no-any-return]

    @cached_property
    def _reports(self) -> ReportService:
        # The import of scipy takes a second, which would delay the start of the replica.
        from serve_app.reports.service import ReportService

        return ReportService(self._database_url)

    async def report(
        self, name: str, since: str | None, region: str | None, experiment: str | None
    ) -> dict[str, Any]:
        return await self._reads.read(lambda: self._reports.make(name, since, region, experiment))

    async def export(self, table: str, kind: str, since: str) -> Path:
        """Write a table to a file, which the caller removes; see `ReportService.export`."""
        try:
            folder = open_home().folder("exports")
            return await self._reads.read(
                lambda: self._reports.export(table, kind, since, folder), discard=_remove_file
            )
        except OSError as exc:
            raise NotReady(
                f"the export cannot be written ({exc.strerror or exc}): free space in the home"
                " directory, or export a shorter period"
            ) from exc

    @cached_property
    def _reviews(self) -> ReviewService:
        # The imports of SQLAlchemy and Alembic would delay the start of the replica.
        from serve_app.review_service import ReviewService

        return ReviewService(self._database_url, ImageCipher(open_home().image_key))

    async def list_images(self, limit: int, reviewed: bool) -> dict[str, Any]:
        return await self._reads.read(lambda: self._reviews.list_images(limit, reviewed))

    async def find_image(self, image_id: str) -> dict[str, Any]:
        return await self._reads.read(lambda: self._reviews.find_image(image_id))

    async def image_content(self, image_id: str) -> bytes:
        return await self._reads.read(lambda: self._reviews.image_content(image_id))

    async def add_review(
        self, image_id: str, answer: str, actor: str, reason: str, key: str | None
    ) -> dict[str, Any]:
        """Record a review; returns the image with the labels of both versions."""
        await self._make_change(key, "add_review", image_id, answer, actor, reason)
        return await self.find_image(image_id)

    async def _make_change(self, key: str | None, change: str, *args: Any) -> int:
        """Make a change, once per key if there is one; the number of the revision or review."""
        call = (change, *args) if key is None else ("change_once", key, change, *args)
        return await self._call_controller(*call)  # type: ignore[no-any-return]

    async def _call_controller(self, method: str, *args: Any) -> Any:
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
            raise RejectedConfig(_message(exc)) from exc
        except StoreError as exc:
            raise NotReady(_message(exc)) from exc
        except RayTaskError as exc:  # without gRPC, Ray wraps a Problem of the Controller
            if isinstance(exc.cause, Problem):
                raise exc.cause from exc
            raise


def _message(exc: Exception) -> str:
    """The message of an error; without gRPC, Ray wraps it in one that contains the traceback."""
    return str(getattr(exc, "cause", None) or exc)


def _remove_file(path: Path) -> None:
    path.unlink(missing_ok=True)


def _log_request(trace: Trace) -> None:
    logger.info(
        "control_request.completed",
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
async def _no_background_tasks(_: FastAPI) -> AsyncIterator[None]:
    yield
