"""Units: what each user or session met that a rule assigned, and which version it met first.

Only what the split itself decided counts: neither tags nor pins, and nobody who was not targeted.
A rule whose unit is the request has none: there, each exposure is a unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from serve_app.clock import DAY_MS
from serve_app.domain import Exposure, Reason
from serve_app.store import bulk, epochs, schema
from serve_app.store.columns import Categorical, Columns, Rows
from serve_app.store.epochs import Timeline
from serve_app.store.scope import EVERYTHING, Scope
from serve_app.store.sums import Sums

_sums = schema.unit_sums.c
_firsts = schema.first_assignments.c


@dataclass(frozen=True, slots=True)
class Assignments(Rows):
    """The first assignment of each unit in an experiment; ordered by unit.

    Attributes:
        unit: See `number`; each once.
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
    """The exposures of each unit, by epoch, day and version.

    Attributes:
        unit: See `number`.
        day: Counted from 1970 UTC.
        region: Of the unit's first assignment in the experiment, also where that is out of scope;
            empty if it was removed since.
        exposures, errors, fallbacks, modelled: See `serve_app.store.exposure_sums.ExposureSum`.
        latency_sum, model_sum: Milliseconds.
    """

    unit: NDArray[np.int64]
    epoch: NDArray[np.int64]
    day: NDArray[np.int64]
    assigned: Categorical
    region: Categorical
    exposures: NDArray[np.int64]
    errors: NDArray[np.int64]
    fallbacks: NDArray[np.int64]
    latency_sum: NDArray[np.float64]
    modelled: NDArray[np.int64]
    model_sum: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FirstAssignments:
    """How many units met the experiment first in an epoch, from a region, with a version."""

    epoch: int
    version: str
    region: str
    units: int


def number(unit: str | None) -> int:
    """The first 64 bits of a unit's keyed hash, as a signed number; 0 of nobody.

    Of a million units, two share it with a probability of 3 in 100 million.
    """
    return int(unit[:16], 16) - (1 << 63) if unit else 0


def of(exposure: Exposure, timeline: Timeline) -> int:
    """The number of the unit that was assigned; 0 if its rule assigns none, or it named none."""
    match timeline.split(exposure.rule_id).unit:
        case "user":
            unit = exposure.user
        case "session":
            unit = exposure.session
        case _:
            unit = None
    return number(unit)


def add(
    connection: Connection, added: Iterable[tuple[Exposure, int | None]], timeline: Timeline
) -> None:
    """Add exposures that were just stored, each with its epoch."""
    batch = Sums(schema.unit_sums)
    firsts: dict[tuple[str | None, int], tuple[int, int, str, str]] = {}
    for exposure, epoch in added:
        unit = of(exposure, timeline) if epoch and exposure.reason == Reason.SPLIT else 0
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
    bulk.merge(connection, schema.first_assignments, rows, "keep the earlier")


def read(connection: Connection, experiment: str, scope: Scope) -> UnitExposureSums:
    """The sums of an experiment's units, of what is in scope; its regions are those of the units'
    first assignments."""
    few = ("epoch", "day", "assigned", "exposures", "errors", "fallbacks", "modelled")
    query = select(_sums.unit, _sums.latency_sum, _sums.model_sum, *(_sums[n] for n in few)).where(
        _sums.epoch.in_(epochs.of(connection, experiment)),
        *scope.conditions(schema.unit_sums, "day", DAY_MS),
    )
    columns = Columns(connection, query, few)
    unit = columns.numbers("unit", np.int64)
    region = _regions(unit, assignments(connection, experiment, EVERYTHING))
    found = UnitExposureSums(
        unit=unit,
        epoch=columns.numbers("epoch", np.int64),
        day=columns.numbers("day", np.int64),
        assigned=columns.coded("assigned"),
        region=region,
        exposures=columns.numbers("exposures", np.int64),
        errors=columns.numbers("errors", np.int64),
        fallbacks=columns.numbers("fallbacks", np.int64),
        latency_sum=columns.numbers("latency_sum", np.float64),
        modelled=columns.numbers("modelled", np.int64),
        model_sum=columns.numbers("model_sum", np.float64),
    )
    if scope.regions is None:
        return found
    wanted = np.array([name in scope.regions for name in region.names], np.bool_)
    return found.only(wanted[region.codes])


def assignments(connection: Connection, experiment: str, scope: Scope) -> Assignments:
    """The first assignments in an experiment that are in scope."""
    few = ("epoch", "version", "region")
    query = select(_firsts.unit, _firsts.at_ms, *(_firsts[name] for name in few)).where(
        _firsts.experiment == experiment, *scope.conditions(schema.first_assignments, "at_ms")
    )
    columns = Columns(connection, query, few)
    unit = columns.numbers("unit", np.int64)
    order = np.argsort(unit)  # the database need not keep its own
    return Assignments(
        unit=unit,
        epoch=columns.numbers("epoch", np.int64),
        version=columns.coded("version"),
        region=columns.coded("region"),
        at_ms=columns.numbers("at_ms", np.int64),
    ).only(order)


def _regions(unit: NDArray[np.int64], firsts: Assignments) -> Categorical:
    """The region of the first assignment of each unit; empty without one."""
    known = np.isin(unit, firsts.unit)
    place = np.searchsorted(firsts.unit, unit[known])
    if known.all():
        return firsts.region[place]
    codes = np.full(len(unit), len(firsts.region.names), np.int32)
    codes[known] = firsts.region.codes[place]
    return Categorical(codes, (*firsts.region.names, ""))


def first_assignments(
    connection: Connection, experiment: str, scope: Scope
) -> list[FirstAssignments]:
    """How many of an experiment's units met it first, ordered by epoch, version and region."""
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
    return [FirstAssignments(**row) for row in rows.mappings()]
