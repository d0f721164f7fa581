"""One attempt to deliver a batch to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from serve_app.recording.batch import Batch
from serve_app.tasks import was_cancelled

# Delivers a batch; returns when the store has it.
Deliver = Callable[[Batch], Awaitable[None]]


async def try_deliver(deliver: Deliver, batch: Batch, timeout_s: float) -> BaseException | None:
    """Deliver a batch once; the error, or None if the batch is stored."""
    try:
        async with asyncio.timeout(timeout_s):
            await deliver(batch)
    except (Exception, asyncio.CancelledError) as exc:
        if was_cancelled():
            raise asyncio.CancelledError from exc
        return exc
    return None
