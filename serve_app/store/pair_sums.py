"""Sums of shadow pairs by the minute: both labels, outcomes, and latencies of both versions."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from serve_app.clock import MINUTE_MS
from serve_app.evidence.units import Rows
from serve_app.recording.records import ShadowPair
from serve_app.store import schema, sums
from serve_app.store.columns import Categorical, Columns
from serve_app.store.scope import Scope
from serve_app.store.sums import SumAccumulator


@dataclass(frozen=True, slots=True)
class PairSum:
    """Sums over the pairs of one group; a key that is not grouped by is None.

    Attributes:
        at_ms: Start of the time slot, milliseconds since 1970 UTC.
        epoch: 0 for none.
        live_version, region, live_label, label, error: Empty for none.
        latency_ms_count: Pairs with a latency of the candidate; `latency_ms_sum` is their sum.
        live_latency_ms_count: Pairs with a live latency; `live_latency_ms_sum` is their sum.
    """

    at_ms: int | None
    epoch: int | None
    rule_id: str | None
    candidate: str | None
    live_version: str | None
    region: str | None
    live_label: str | None
    label: str | None
    outcome: str | None
    error: str | None
    pairs: int
    latency_ms_count: int
    latency_ms_sum: float
    live_latency_ms_count: int
    live_latency_ms_sum: float


@dataclass(frozen=True, slots=True)
class PairCounts(Rows):
    """Pairs by minute, region, both labels and outcome, oldest first; columns of length n.

    Attributes:
        minute: Minutes since 1970 UTC.
        region, live_label, label: Empty for none.
    """

    minute: NDArray[np.int64]
    region: Categorical
    live_label: Categorical
    label: Categorical
    outcome: Categorical
    pairs: NDArray[np.int64]


def add_pairs(connection: Connection, added: Iterable[tuple[ShadowPair, int | None]]) -> None:
    """Add new pairs, each with its epoch."""
    batch = SumAccumulator(schema.pair_sums)
    for pair, epoch in added:
        batch.add(
            (
                epoch or 0,
                pair.at_ms // MINUTE_MS,
                pair.rule_id,
                pair.candidate,
                pair.live_version or "",
                pair.region or "",
                pair.live_label or "",
                pair.label or "",
                pair.outcome,
                pair.error or "",
            ),
            (
                1,
                int(pair.latency_ms is not None),
                pair.latency_ms or 0.0,
                int(pair.live_latency_ms is not None),
                pair.live_latency_ms or 0.0,
            ),
        )
    batch.write(connection)


def read(
    connection: Connection, scope: Scope, by: Collection[str], slot_ms: int | None
) -> list[PairSum]:
    """The sums in a scope; arguments and errors as in `serve_app.store.sums.read_sums`."""
    rows = sums.read_sums(connection, schema.pair_sums, scope, by, slot_ms)
    return [PairSum(**row) for row in rows]


def read_counts(connection: Connection, scope: Scope) -> PairCounts:
    """The pairs in a scope, counted; oldest first."""
    categorical = ("region", "live_label", "label", "outcome")
    minute, *texts = (schema.pair_sums.c[name] for name in ("minute", *categorical))
    query = (
        select(minute, *texts, func.sum(schema.pair_sums.c.pairs).label("pairs"))
        .where(*scope.conditions(schema.pair_sums, "minute", MINUTE_MS))
        .group_by(minute, *texts)
    )
    columns = Columns(connection, query, categorical)
    found = PairCounts(
        minute=columns.numbers("minute", np.int64),
        region=columns.categorical("region"),
        live_label=columns.categorical("live_label"),
        label=columns.categorical("label"),
        outcome=columns.categorical("outcome"),
        pairs=columns.numbers("pairs", np.int64),
    )
    return found.select(np.argsort(found.minute, kind="stable"))
