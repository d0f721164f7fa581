"""Python's garbage collector in a replica that has warmed up."""

from __future__ import annotations

import gc

# Objects made, less those freed, before the youngest are looked at: those of a dozen requests under
# way, instead of one. By default 700.
THRESHOLD = 10_000


def freeze_garbage_collector() -> None:
    """Leave what is loaded by now out of every collection, and collect less often.

    A replica holds some 200,000 objects for as long as it lives: modules, networks, metrics. Serve
    freezes those that are there when its constructor returns; the first request loads more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, *gc.get_threshold()[1:])
