"""Latency histograms by the minute, in the buckets of `serve_app.evidence.latency`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from serve_app.clock import MINUTE_MS
from serve_app.evidence.latency import bucket_of
from serve_app.recording.records import Exposure
from serve_app.store import schema, sums
from serve_app.store.scope import Scope
from serve_app.store.sums import SumAccumulator

Kind = Literal["latency", "model"]

_KEYS = ("epoch", "rule_id", "assigned", "reason")


@dataclass(frozen=True, slots=True)
class Histogram:
    """The latencies of the exposures of one group; a key that is not grouped by is None.

    Attributes:
        at_ms: Start of the time slot, milliseconds since 1970 UTC.
        buckets: int64 [k], the buckets that are not empty, ascending.
        counts: int64 [k], exposures in each bucket.
    """

    at_ms: int | None
    epoch: int | None
    rule_id: str | None
    assigned: str | None
    reason: str | None
    buckets: NDArray[np.int64]
    counts: NDArray[np.int64]


def add_exposures(connection: Connection, added: Iterable[tuple[Exposure, int | None]]) -> None:
    """Add new exposures, each with its epoch."""
    batch = SumAccumulator(schema.latency_sums)
    for exposure, epoch in added:
        key = (
            epoch or 0,
            exposure.at_ms // MINUTE_MS,
            exposure.rule_id,
            exposure.assigned or "",
            exposure.reason,
        )
        batch.add((*key, "latency", bucket_of(exposure.latency_ms)), (1,))
        if exposure.own_model_ms is not None:
            batch.add((*key, "model", bucket_of(exposure.own_model_ms)), (1,))
    batch.write(connection)


def read(
    connection: Connection, scope: Scope, kind: Kind, by: Collection[str], slot_ms: int | None
) -> list[Histogram]:
    """The histograms in a scope, ordered by their keys; see `serve_app.store.sums.read_sums`.

    Raises:
        ValueError: As `read_sums`; or the scope has regions, which histograms do not keep.
    """
    if scope.regions is not None or not set(by) <= set(_KEYS):
        raise ValueError(f"latencies can only be grouped by {', '.join(_KEYS)}, not by region")
    rows = sums.read_sums(
        connection,
        schema.latency_sums,
        scope,
        (*by, "bucket"),
        slot_ms,
        where=[schema.latency_sums.c.kind == kind],
    )
    return [_histogram(list(group)) for _, group in groupby(rows, itemgetter("at_ms", *_KEYS))]


def _histogram(rows: list[dict[str, Any]]) -> Histogram:
    return Histogram(
        **{name: rows[0][name] for name in ("at_ms", *_KEYS)},
        buckets=np.array([row["bucket"] for row in rows], np.int64),
        counts=np.array([row["exposures"] for row in rows], np.int64),
    )
