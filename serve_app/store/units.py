"""Units: sums of the exposures of each user or session, and its first assignment.

Only exposures that the split assigned count, not tagged, pinned or untargeted requests. Nothing is
summed for a rule whose unit is the request: there each exposure is a unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from serve_app.clock import DAY_MS
from serve_app.evidence.units import Rows
from serve_app.recording.records import Exposure
from serve_app.rules.plan import Reason
from serve_app.store import bulk, epochs, schema
from serve_app.store.columns import Categorical, Columns
from serve_app.store.epochs import Timeline
from serve_app.store.scope import EVERYTHING, Scope
from serve_app.store.sums import SumAccumulator

_sums = schema.unit_sums.c
_firsts = schema.first_assignments.c


@dataclass(frozen=True, slots=True)
class FirstAssignments(Rows):
    """The first assignment of each unit in an experiment, ordered by unit; columns of length n.

    Attributes:
        unit: See `hash64`; unique.
        region: Empty for none.
        at_ms: Milliseconds since 1970 UTC.
    """

    unit: NDArray[np.int64]
    epoch: NDArray[np.int64]
    version: Categorical
    region: Categorical
    at_ms: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class UnitExposureSums(Rows):
    """Sums of exposures by unit, epoch, day and assigned version; columns of length n.

    Attributes:
        unit: See `hash64`.
        day: Days since 1970 UTC.
        region: The region of the unit's first assignment in the experiment, even if that lies
            outside the scope; empty if the first assignment was removed.
        exposures, errors, fallbacks, model_ms_count: See
            `serve_app.store.exposure_sums.ExposureSum`.
        latency_ms_sum, model_ms_sum: Milliseconds.
    """

    unit: NDArray[np.int64]
    epoch: NDArray[np.int64]
    day: NDArray[np.int64]
    assigned: Categorical
    region: Categorical
    exposures: NDArray[np.int64]
    errors: NDArray[np.int64]
    fallbacks: NDArray[np.int64]
    latency_ms_sum: NDArray[np.float64]
    model_ms_count: NDArray[np.int64]
    model_ms_sum: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FirstAssignmentCount:
    """The number of units whose first assignment has this epoch, version and region."""

    epoch: int
    version: str
    region: str
    units: int


def hash64(unit: str | None) -> int:
    """The first 64 bits of a unit's keyed hash, as a signed integer; 0 for None.

    Among a million units, two collide with a probability of 3e-8.
    """
    return int(unit[:16], 16) - (1 << 63) if unit else 0


def unit_id_of(exposure: Exposure, timeline: Timeline) -> int:
    """The `hash64` of the unit that the rule assigned; 0 if the rule assigns no user or session,
    or the request named none."""
    match timeline.split(exposure.rule_id).unit:
        case "user":
            unit = exposure.user
        case "session":
            unit = exposure.session
        case _:
            unit = None
    return hash64(unit)


def add_exposures(
    connection: Connection, added: Iterable[tuple[Exposure, int | None]], timeline: Timeline
) -> None:
    """Add new exposures, each with its epoch, to the sums and the first assignments."""
    batch = SumAccumulator(schema.unit_sums)
    firsts: dict[tuple[str | None, int], tuple[int, int, str, str]] = {}
    for exposure, epoch in added:
        is_split = epoch and exposure.reason == Reason.SPLIT
        unit = unit_id_of(exposure, timeline) if is_split else 0
        if not epoch or not unit:
            continue
        version, at_ms = exposure.assigned or "", exposure.at_ms
        failed, model_ms = exposure.error is not None, exposure.own_model_ms
        batch.add(
            (epoch, at_ms // DAY_MS, unit, version),
            (
                1,
                int(failed),
                int(failed and exposure.served is not None),
                exposure.latency_ms,
                int(model_ms is not None),
                model_ms or 0.0,
            ),
        )
        key = (timeline.split(exposure.rule_id).experiment, unit)
        first = (at_ms, epoch, version, exposure.region or "")
        firsts[key] = min(first, firsts.get(key, first))
    batch.write(connection)
    rows = [key + firsts[key] for key in sorted(firsts)]
    bulk.merge(connection, schema.first_assignments, rows, "keep_earlier")


def read_unit_sums(connection: Connection, experiment: str, scope: Scope) -> UnitExposureSums:
    """The unit sums of an experiment in a scope. The scope's regions are matched against the
    region of each unit's first assignment."""
    categorical = (
        *("epoch", "day", "assigned", "exposures", "errors", "fallbacks"),
        "model_ms_count",
    )
    query = select(
        _sums.unit, _sums.latency_ms_sum, _sums.model_ms_sum, *(_sums[n] for n in categorical)
    ).where(
        _sums.epoch.in_(epochs.epochs_of_experiment(connection, experiment)),
        *scope.conditions(schema.unit_sums, "day", DAY_MS),
    )
    columns = Columns(connection, query, categorical)
    unit = columns.numbers("unit", np.int64)
    region = _first_regions(unit, read_first_assignments(connection, experiment, EVERYTHING))
    found = UnitExposureSums(
        unit=unit,
        epoch=columns.numbers("epoch", np.int64),
        day=columns.numbers("day", np.int64),
        assigned=columns.categorical("assigned"),
        region=region,
        exposures=columns.numbers("exposures", np.int64),
        errors=columns.numbers("errors", np.int64),
        fallbacks=columns.numbers("fallbacks", np.int64),
        latency_ms_sum=columns.numbers("latency_ms_sum", np.float64),
        model_ms_count=columns.numbers("model_ms_count", np.int64),
        model_ms_sum=columns.numbers("model_ms_sum", np.float64),
    )
    if scope.regions is None:
        return found
    is_wanted = np.array([name in scope.regions for name in region.categories], np.bool_)
    return found.select(is_wanted[region.codes])


def read_first_assignments(
    connection: Connection, experiment: str, scope: Scope
) -> FirstAssignments:
    """The first assignments of an experiment in a scope."""
    categorical = ("epoch", "version", "region")
    query = select(_firsts.unit, _firsts.at_ms, *(_firsts[name] for name in categorical)).where(
        _firsts.experiment == experiment, *scope.conditions(schema.first_assignments, "at_ms")
    )
    columns = Columns(connection, query, categorical)
    unit = columns.numbers("unit", np.int64)
    order = np.argsort(unit)  # `aggregate_strings` has no defined order
    return FirstAssignments(
        unit=unit,
        epoch=columns.numbers("epoch", np.int64),
        version=columns.categorical("version"),
        region=columns.categorical("region"),
        at_ms=columns.numbers("at_ms", np.int64),
    ).select(order)


def count_first_assignments(
    connection: Connection, experiment: str, scope: Scope
) -> list[FirstAssignmentCount]:
    """The first assignments in a scope, counted and ordered by epoch, version and region."""
    keys = (_firsts.epoch, _firsts.version, _firsts.region)
    rows = connection.execute(
        select(*keys, func.count().label("units"))
        .where(
            _firsts.experiment == experiment,
            *scope.conditions(schema.first_assignments, "at_ms"),
        )
        .group_by(*keys)
        .order_by(*keys)
    )
    return [FirstAssignmentCount(**row) for row in rows.mappings()]


def _first_regions(unit: NDArray[np.int64], firsts: FirstAssignments) -> Categorical:
    """[n], the region of each unit's first assignment; empty where that is missing."""
    is_known = np.isin(unit, firsts.unit)
    place = np.searchsorted(firsts.unit, unit[is_known])
    if is_known.all():
        return firsts.region[place]
    codes = np.full(len(unit), len(firsts.region.categories), np.int32)
    codes[is_known] = firsts.region.codes[place]
    return Categorical(codes, (*firsts.region.categories, ""))
