"""Shadow pairs by the minute: who said what, and how long it took both."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from serve_app.clock import MINUTE_MS
from serve_app.domain import ShadowPair
from serve_app.store import schema, sums
from serve_app.store.columns import Categorical, Columns, Rows
from serve_app.store.scope import Scope
from serve_app.store.sums import Sums


@dataclass(frozen=True, slots=True)
class PairSum:
    """The pairs of one key; a key that was summed over is None.

    Attributes:
        at_ms: When its slot begins, milliseconds since 1970 UTC.
        epoch: 0 for none.
        live_version, region, live_label, label, error: Empty for none.
        timed: Those with a latency of the candidate, of which its sum is.
        lived: Those whose live latency is known, of which its sum is.
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
    timed: int
    latency_sum: float
    lived: int
    live_latency_sum: float


@dataclass(frozen=True, slots=True)
class PairCounts(Rows):
    """How many pairs each minute had of each region, live label, label and outcome; columns of
    equal length.

    Attributes:
        minute: Counted from 1970 UTC.
        region, live_label, label: Empty for none.
    """

    minute: NDArray[np.int64]
    region: Categorical
    live_label: Categorical
    label: Categorical
    outcome: Categorical
    pairs: NDArray[np.int64]


def add(connection: Connection, added: Iterable[tuple[ShadowPair, int | None]]) -> None:
    """Add pairs that were just stored, each with its epoch."""
    batch = Sums(schema.pair_sums)
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
    """See `serve_app.store.sums.read`."""
    rows = sums.read(connection, schema.pair_sums, scope, by, slot_ms)
    return [PairSum(**row) for row in rows]


def counts(connection: Connection, scope: Scope) -> PairCounts:
    """The pairs in scope, the oldest first."""
    few = ("region", "live_label", "label", "outcome")
    minute, *texts = (schema.pair_sums.c[name] for name in ("minute", *few))
    query = (
        select(minute, *texts, func.sum(schema.pair_sums.c.pairs).label("pairs"))
        .where(*scope.conditions(schema.pair_sums, "minute", MINUTE_MS))
        .group_by(minute, *texts)
    )
    columns = Columns(connection, query, few)
    found = PairCounts(
        minute=columns.numbers("minute", np.int64),
        region=columns.coded("region"),
        live_label=columns.coded("live_label"),
        label=columns.coded("label"),
        outcome=columns.coded("outcome"),
        pairs=columns.numbers("pairs", np.int64),
    )
    return found.only(np.argsort(found.minute, kind="stable"))
