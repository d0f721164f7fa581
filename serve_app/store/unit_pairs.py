"""Sums of shadow pairs by unit, for intervals that are clustered by user or session."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, case, cast, func, select

from serve_app.clock import DAY_MS
from serve_app.evidence.units import Rows
from serve_app.recording.records import CopyOutcome, ShadowPair
from serve_app.store import schema
from serve_app.store.columns import Categorical, Columns
from serve_app.store.scope import Scope
from serve_app.store.sums import SumAccumulator
from serve_app.store.units import hash64

_sums = schema.unit_pair_sums.c


@dataclass(frozen=True, slots=True)
class UnitPairs(Rows):
    """Sums over the copied pairs of each unit and region; columns of length n.

    Attributes:
        unit: See `serve_app.store.units.hash64`; 0 for pairs without a unit.
        region: Empty for none.
        pairs: Their number.
        new: Pairs to which the candidate gave a label that the live version does not know.
        compared: Pairs with a shared label and a live label; `agreed` of them have equal labels.
        failed: Copies that failed; not among the pairs.
        model_ms_count: Pairs with model times of both versions; the remaining sums are over them.
        model_ms_sum, live_model_ms_sum: Milliseconds.
        squared_difference_sum: Of the candidate's model time less the live one, ms squared.
    """

    unit: NDArray[np.int64]
    region: Categorical
    pairs: NDArray[np.float64]
    new: NDArray[np.float64]
    compared: NDArray[np.float64]
    agreed: NDArray[np.float64]
    failed: NDArray[np.float64]
    model_ms_count: NDArray[np.float64]
    model_ms_sum: NDArray[np.float64]
    live_model_ms_sum: NDArray[np.float64]
    squared_difference_sum: NDArray[np.float64]


def add_pairs(connection: Connection, added: Iterable[tuple[ShadowPair, int | None]]) -> None:
    """Add new pairs, each with its epoch; those that were shed are not summed."""
    batch = SumAccumulator(schema.unit_pair_sums)
    for pair, epoch in added:
        if pair.outcome == CopyOutcome.SHED:
            continue
        is_copied = pair.outcome == CopyOutcome.COPIED
        model_ms, live_model_ms, model_ms_count = 0.0, 0.0, 0
        if is_copied and pair.model_ms is not None and pair.live_model_ms is not None:
            model_ms, live_model_ms, model_ms_count = pair.model_ms, pair.live_model_ms, 1
        batch.add(
            (
                epoch or 0,
                pair.at_ms // DAY_MS,
                hash64(pair.unit),
                pair.region or "",
                pair.label or "" if is_copied else "",
            ),
            (
                int(is_copied),
                int(is_copied and pair.live_label is not None),
                int(is_copied and pair.live_label is not None and pair.live_label == pair.label),
                int(not is_copied),
                model_ms_count,
                model_ms,
                live_model_ms,
                (model_ms - live_model_ms) ** 2,
            ),
        )
    batch.write(connection)


def read(connection: Connection, scope: Scope, shared: Collection[str]) -> UnitPairs:
    """The sums in a scope.

    Args:
        shared: The labels that both versions know.
    """
    is_shared = _sums.label.in_(shared)
    counts = {
        "pairs": _sums.pairs,
        "new": case((is_shared, 0), else_=_sums.pairs),
        "compared": case((is_shared, _sums.compared), else_=0),
        "agreed": case((is_shared, _sums.agreed), else_=0),
        "failed": _sums.failed,
        "model_ms_count": _sums.model_ms_count,
    }
    times = ("model_ms_sum", "live_model_ms_sum", "squared_difference_sum")
    query = (
        select(
            _sums.unit,
            _sums.region,
            *(cast(func.sum(count), BigInteger).label(name) for name, count in counts.items()),
            *(func.sum(_sums[name]).label(name) for name in times),
        )
        .where(*scope.conditions(schema.unit_pair_sums, "day", DAY_MS))
        .group_by(_sums.unit, _sums.region)
    )
    columns = Columns(connection, query, categorical=("region", *counts))
    return UnitPairs(
        unit=columns.numbers("unit", np.int64),
        region=columns.categorical("region"),
        **{name: columns.numbers(name, np.float64) for name in (*counts, *times)},
    )
