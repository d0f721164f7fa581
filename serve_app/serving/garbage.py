"""Python's garbage collector in a replica."""

from __future__ import annotations

import gc

# Objects made, less those freed, before the youngest are looked at: those of a dozen requests under
# way, instead of one. By default 700.
THRESHOLD = 10_000


def collect_less_often() -> None:
    """For a process that makes few reference cycles."""
    gc.set_threshold(THRESHOLD, *gc.get_threshold()[1:])


def freeze() -> None:
    """Leave what is loaded by now out of every collection.

    Serve does so after a replica's constructor and first `reconfigure`; the first request of an
    ingress loads more, and keeps it for as long as the process lives.
    """
    gc.collect()
    gc.freeze()
