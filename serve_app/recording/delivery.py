"""One attempt to bring a batch to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from serve_app.recording.batch import Batch
from serve_app.tasks import was_cancelled

# Takes a batch to the store; returns when it is stored.
Deliver = Callable[[Batch], Awaitable[None]]


async def attempt(deliver: Deliver, batch: Batch, timeout_s: float) -> BaseException | None:
    """Why the batch did not arrive; None if it is stored."""
    try:
        async with asyncio.timeout(timeout_s):
            await deliver(batch)
    except (Exception, asyncio.CancelledError) as exc:
        if was_cancelled():
            raise asyncio.CancelledError from exc
        return exc
    return None
