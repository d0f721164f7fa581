"""`ControlApi`: a replica that serves the HTTP API of the control plane.

It reads from the store itself, and sends every change to the Controller.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serve_app.control_plane.changes import Applied, Change, ConfigChange
from serve_app.control_plane.preview import Preview
from serve_app.control_plane.reads import Reads
from serve_app.errors import NotReady, Problem, TooSlow
from serve_app.home import open_home
from serve_app.http.control.application import application
from serve_app.http.control.authentication import Authenticator
from serve_app.http.control.sessions import Role, Sessions
from serve_app.serving.logs import join_serve_log
from serve_app.tasks import was_cancelled
from serve_app.trace import Trace

CALL_TIMEOUT_S = 20.0

logger = logging.getLogger(__name__)


class ControlApi:
    """Implements `serve_app.http.control.service.ControlService` with the Controller's handle."""

    def __init__(self, controller: DeploymentHandle[Any]) -> None:
        join_serve_log()
        self._controller = controller

    def __serve_build_asgi_app__(self) -> FastAPI:
        home = open_home()
        tokens = {Role.OPERATOR: home.token, Role.REVIEWER: home.reviewer_token}
        key = bytes.fromhex(home.token + home.reviewer_token)
        authenticator = Authenticator(tokens, Sessions(home.folder("sessions"), key))
        return application(self, Reads(home), authenticator, _log_request, _no_background_tasks)

    async def apply(self, change: Change) -> Applied:
        return await self._call("apply", change)  # type: ignore[no-any-return]

    async def preview(self, change: ConfigChange) -> Preview:
        return await self._call("preview", change)  # type: ignore[no-any-return]

    async def status(self) -> dict[str, Any]:
        return await self._call("status")  # type: ignore[no-any-return]

    async def deployment(self) -> dict[str, Any]:
        return await self._call("deployment")  # type: ignore[no-any-return]

    async def revisions(self, limit: int) -> list[dict[str, Any]]:
        return await self._call("revisions", limit)  # type: ignore[no-any-return]

    async def revision(self, number: int) -> dict[str, Any]:
        return await self._call("revision", number)  # type: ignore[no-any-return]

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        return await self._call("audit", limit)  # type: ignore[no-any-return]

    async def _call(self, method: str, *args: Any) -> Any:
        call = getattr(self._controller, method)
        try:
            return await asyncio.wait_for(call.remote(*args), CALL_TIMEOUT_S)
        except TimeoutError as exc:
            raise TooSlow(f"the Controller did not answer within {CALL_TIMEOUT_S:g} s") from exc
        except (DeploymentUnavailableError, RayActorError, asyncio.CancelledError) as exc:
            if was_cancelled():
                raise
            raise NotReady("the Controller cannot be reached: try again in a second") from exc
        except RayTaskError as exc:  # without gRPC, Ray wraps a Problem of the Controller
            if isinstance(exc.cause, Problem):
                raise exc.cause from exc
            raise


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
