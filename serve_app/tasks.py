"""What asyncio does not tell by itself."""

from __future__ import annotations

import asyncio


def is_to_end() -> bool:
    """Whether the present task was cancelled.

    A CancelledError alone does not say so: a remote call raises one too when the other side
    cancels it, as Serve does when a replica goes away.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
