"""A bounded queue of entries for delivery, with counts."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Buffer(Generic[Entry]):
    """A queue that drops new entries when it is full.

    Attributes:
        recorded: All entries so far; each is delivered, dropped, spooled or waiting.
        delivered: Entries in the store.
        dropped: Entries lost because the buffer was full, or because of `drop`.
        spooled: Entries in the spool.
    """

    def __init__(self, capacity: int) -> None:
        """
        Args:
            capacity: Entries that may wait, without those in flight.
        """
        self.recorded = 0
        self.delivered = 0
        self.dropped = 0
        self.spooled = 0
        self._capacity = capacity
        self._queue: deque[Entry] = deque()
        self._in_flight: tuple[Entry, ...] = ()

    @property
    def waiting(self) -> int:
        """Entries in the queue and in flight."""
        return len(self._queue) + len(self._in_flight)

    def __len__(self) -> int:
        """Entries in the queue."""
        return len(self._queue)

    def add(self, entry: Entry) -> None:
        """Add an entry, or drop it if the buffer is full."""
        self.recorded += 1
        if len(self._queue) < self._capacity:
            self._queue.append(entry)
        else:
            self.dropped += 1

    def drop(self) -> None:
        """Count an entry that could not be created."""
        self.recorded += 1
        self.dropped += 1

    def take(self, max_entries: int) -> tuple[Entry, ...]:
        """Remove the oldest entries; they are in flight until marked as delivered or spooled."""
        size = min(len(self._queue), max_entries)
        self._in_flight = tuple(self._queue.popleft() for _ in range(size))
        return self._in_flight

    def mark_delivered(self) -> None:
        """Count the entries in flight as delivered."""
        self.delivered += len(self._in_flight)
        self._in_flight = ()

    def mark_spooled(self) -> None:
        """Count the entries in flight as spooled."""
        self.spooled += len(self._in_flight)
        self._in_flight = ()

    def close(self) -> None:
        """Drop all entries that are added from now on."""
        self._capacity = 0
