"""Noticing that a client has hung up, without a task for each request.

Serve's own detection starts two tasks for every request, and passes each chunk of its body through
a queue: a tenth of the ingress's CPU time. `UNWATCHED` turns it off for a request. Here, a request
is watched once its answer takes longer than `LATE_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from serve_app.data_plane.pools import LATE_S
from serve_app.tasks import watched_when_late

UNWATCHED = (b"x-request-disconnect-disabled", b"?1")  # a header that Serve reads


@contextlib.asynccontextmanager
async def cancelled_on_disconnect(receive: Receive) -> AsyncIterator[None]:
    """Cancel what is awaited when the client hangs up, `LATE_S` from now or later.

    Args:
        receive: ASGI's, after the whole body was read.

    Raises:
        ClientDisconnect: The client hung up.
    """
    gone = asyncio.timeout(None)

    async def wait_for_disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.reschedule(asyncio.get_running_loop().time())

    with watched_when_late(LATE_S, wait_for_disconnect):
        try:
            async with gone:
                yield
        except TimeoutError as exc:
            if gone.expired():
                raise ClientDisconnect from exc
            raise
