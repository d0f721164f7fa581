"""Settings of Python's garbage collector in a replica."""

from __future__ import annotations

import gc

# Allocations minus deallocations until a collection of the youngest generation: about a dozen
# concurrent requests instead of one. The default is 700.
THRESHOLD = 10_000


def collect_less_often() -> None:
    """Collect the youngest generation less often; our code makes few reference cycles."""
    gc.set_threshold(THRESHOLD, *gc.get_threshold()[1:])


def freeze() -> None:
    """Exclude all present objects from future collections.

    Serve does so after a replica's constructor and first `reconfigure`, but the first request of an
    ingress allocates more objects that live as long as the process.
    """
    gc.collect()
    gc.freeze()
