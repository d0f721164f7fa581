"""Detects client disconnects, without a task for each request.

Serve's detection starts two tasks for every request and passes each chunk of the body through a
queue, which takes a tenth of the ingress's CPU time. `NO_SERVE_DETECTION` turns it off for a
request. This module starts watching a request after `LATE_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from serve_app.data_plane.pools import LATE_S
from serve_app.tasks import background_task_after

NO_SERVE_DETECTION = (b"x-request-disconnect-disabled", b"?1")  # a request header of Serve


@contextlib.asynccontextmanager
async def cancel_on_disconnect(receive: Receive) -> AsyncIterator[None]:
    """Cancel the body of the `async with` if the client disconnects after `LATE_S` or later.

    Args:
        receive: The ASGI callable, after the whole body was read.

    Raises:
        ClientDisconnect: The client disconnected.
    """
    cancellation = asyncio.timeout(None)

    async def wait_for_disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        cancellation.reschedule(asyncio.get_running_loop().time())

    with background_task_after(LATE_S, wait_for_disconnect):
        try:
            async with cancellation:
                yield
        except TimeoutError as exc:
            if cancellation.expired():
                raise ClientDisconnect from exc
            raise
