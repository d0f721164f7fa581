"""Entries that wait for their delivery, counted from first to last."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Buffer(Generic[Entry]):
    """A queue that drops what exceeds its capacity.

    Attributes:
        recorded: Entries so far: each is delivered, dropped, spooled or waiting.
        delivered: Entries that the store has.
        dropped: Entries lost because the buffer was full, or not even made; see `drop`.
        spooled: Entries left in the spool.
    """

    def __init__(self, capacity: int) -> None:
        """Nothing waits.

        Args:
            capacity: How many entries may wait, besides those on their way.
        """
        self.recorded = 0
        self.delivered = 0
        self.dropped = 0
        self.spooled = 0
        self._capacity = capacity
        self._queue: deque[Entry] = deque()
        self._on_their_way: tuple[Entry, ...] = ()

    @property
    def waiting(self) -> int:
        """Entries in the queue and on their way."""
        return len(self._queue) + len(self._on_their_way)

    def __len__(self) -> int:
        """Entries in the queue."""
        return len(self._queue)

    def add(self, entry: Entry) -> None:
        """Take an entry, or drop it."""
        self.recorded += 1
        if len(self._queue) < self._capacity:
            self._queue.append(entry)
        else:
            self.dropped += 1

    def drop(self) -> None:
        """Count an entry that was due and could not be made."""
        self.recorded += 1
        self.dropped += 1

    def send(self, most: int) -> tuple[Entry, ...]:
        """The first of the queue; they are on their way until they are delivered or spooled."""
        size = min(len(self._queue), most)
        self._on_their_way = tuple(self._queue.popleft() for _ in range(size))
        return self._on_their_way

    def note_delivered(self) -> None:
        """What was on its way has arrived."""
        self.delivered += len(self._on_their_way)
        self._on_their_way = ()

    def note_spooled(self) -> None:
        """What was on its way is in the spool."""
        self.spooled += len(self._on_their_way)
        self._on_their_way = ()

    def close(self) -> None:
        """Drop whatever comes from now on."""
        self._capacity = 0
