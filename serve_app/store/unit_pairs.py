"""Shadow pairs by unit: what was copied of each user or session."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, case, cast, func, select

from serve_app.clock import DAY_MS
from serve_app.domain import CopyOutcome, ShadowPair
from serve_app.store import schema
from serve_app.store.columns import Categorical, Columns, Rows
from serve_app.store.scope import Scope
from serve_app.store.sums import Sums
from serve_app.store.units import number

_sums = schema.unit_pair_sums.c


@dataclass(frozen=True, slots=True)
class UnitPairs(Rows):
    """The copied images of each unit, by region; columns of equal length.

    Attributes:
        unit: See `serve_app.store.units.number`; 0 has all those of which nobody told the unit.
        region: Empty for none.
        pairs: How many.
        new: Those that the candidate called something that the live version does not know.
        asked: The others, if the live version answered them as well; `same` of them alike.
        paired: Those with a model time of both, of which the remaining sums are, in ms.
        difference_squares: Of the candidate's model time less the live one's.
    """

    unit: NDArray[np.int64]
    region: Categorical
    pairs: NDArray[np.float64]
    new: NDArray[np.float64]
    asked: NDArray[np.float64]
    same: NDArray[np.float64]
    paired: NDArray[np.float64]
    model_sum: NDArray[np.float64]
    live_model_sum: NDArray[np.float64]
    difference_squares: NDArray[np.float64]


def add(connection: Connection, added: Iterable[tuple[ShadowPair, int | None]]) -> None:
    """Add pairs that were just stored, each with its epoch."""
    batch = Sums(schema.unit_pair_sums)
    for pair, epoch in added:
        if pair.outcome != CopyOutcome.COPIED:
            continue
        model_ms, live_model_ms, paired = 0.0, 0.0, 0
        if pair.model_ms is not None and pair.live_model_ms is not None:
            model_ms, live_model_ms, paired = pair.model_ms, pair.live_model_ms, 1
        batch.add(
            (
                epoch or 0,
                pair.at_ms // DAY_MS,
                number(pair.unit),
                pair.region or "",
                pair.label or "",
            ),
            (
                1,
                int(pair.live_label is not None),
                int(pair.live_label is not None and pair.live_label == pair.label),
                paired,
                model_ms,
                live_model_ms,
                (model_ms - live_model_ms) ** 2,
            ),
        )
    batch.write(connection)


def read(connection: Connection, scope: Scope, shared: Collection[str]) -> UnitPairs:
    """The sums of what is in scope.

    Args:
        shared: The labels that both versions know.
    """
    is_shared = _sums.label.in_(shared)
    counts = {
        "pairs": _sums.pairs,
        "new": case((is_shared, 0), else_=_sums.pairs),
        "asked": case((is_shared, _sums.asked), else_=0),
        "same": case((is_shared, _sums.same), else_=0),
        "paired": _sums.paired,
    }
    times = ("model_sum", "live_model_sum", "difference_squares")
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
    columns = Columns(connection, query, few=("region", *counts))
    return UnitPairs(
        unit=columns.numbers("unit", np.int64),
        region=columns.coded("region"),
        **{name: columns.numbers(name, np.float64) for name in (*counts, *times)},
    )
