"""Paces reads, so that any number of clients that poll leave the event loop to classification."""

from __future__ import annotations

import asyncio
from math import inf

from serve_app.errors import Busy

READS_PER_S = 50  # of one ingress; a read takes about a millisecond of its event loop
BURST = 100  # reads that are answered at once after two quiet seconds
MAX_WAIT_S = 5.0


class ReadPace:
    """Delays reads above `READS_PER_S`: a client that waits sends nothing, a refused one repeats.

    The generic cell rate algorithm (ITU-T I.371): each read moves the time of the next one.
    """

    def __init__(self) -> None:
        self._next_s = -inf  # in the loop's time

    async def wait(self) -> None:
        """Wait for the turn of a read.

        Raises:
            Busy: The wait would be longer than `MAX_WAIT_S`.
        """
        now_s = asyncio.get_running_loop().time()
        next_s = max(self._next_s, now_s - BURST / READS_PER_S) + 1 / READS_PER_S
        if next_s - now_s > MAX_WAIT_S:
            raise Busy(
                f"more than {READS_PER_S * MAX_WAIT_S:.0f} reads wait for their turn:"
                " try again in a second, and read less often"
            )
        self._next_s = next_s
        if next_s > now_s:
            await asyncio.sleep(next_s - now_s)
