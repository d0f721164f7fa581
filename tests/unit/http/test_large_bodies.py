"""Tests of the thread for large bodies: who uses it, and how many wait for it."""

from __future__ import annotations

import asyncio
import threading

from serve_app.errors import Busy
from serve_app.http.large_bodies import MAX_INLINE_BYTES, process


def test_a_large_body_without_a_place_is_refused_and_a_small_one_is_not() -> None:
    gate = threading.Event()

    async def check() -> None:
        waiting = [asyncio.create_task(process(MAX_INLINE_BYTES + 1, gate.wait)) for _ in range(40)]
        await asyncio.sleep(0)
        try:
            assert await process(MAX_INLINE_BYTES, threading.get_ident) == threading.get_ident()
        finally:
            gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert results.count(True) == 16
        assert sum(isinstance(result, Busy) for result in results) == 24

    asyncio.run(check())
