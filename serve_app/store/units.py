"""Units: the first assignment of each user or session, and sums of what happened to it after that.

Only exposures that the split assigned count, not tagged, pinned or untargeted requests. Nothing is
summed for a rule whose unit is the request: there each exposure is a unit.

A unit counts at a fixed age, `settle` in the rule of its experiment. Its exposures are summed by
slots of an eighth of this time, for twice this time after its first assignment: the first part
decides, the second shows whether the unit came back. An exposure that arrives late may make the
first assignment earlier; the slots that are then too old are removed. So the sums do not depend on
the order in which exposures arrive.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    case,
    cast,
    func,
    literal,
    select,
)

from serve_app.evidence.units import Rows
from serve_app.recording.records import Exposure
from serve_app.rules.bucket import bucket
from serve_app.rules.plan import Reason
from serve_app.store import bulk, schema
from serve_app.store.columns import Categorical, Columns
from serve_app.store.epochs import EpochSplit, Timeline
from serve_app.store.scope import Scope

SLOTS = 8  # of `settle`
MIN_SLOT_MS = 1000

_sums = schema.unit_sums.c
_firsts = schema.first_assignments.c

_NEVER = (math.inf,)  # later than each first assignment


@dataclass(frozen=True, slots=True)
class ExperimentUnits(Rows):
    """The units of an experiment, ordered by unit; columns of length n.

    Attributes:
        unit: See `hash64`; unique.
        at_ms, epoch, version, region: Of the first assignment; milliseconds since 1970 UTC. The
            region is empty for none.
        bucket: See `serve_app.rules.bucket`.
        first_latency_ms: Of the first exposure.
        exposures, errors: In the slots that end within `settle` after the first assignment.
            Fallbacks are errors.
        latency_ms_sum, max_latency_ms: Of these exposures.
        model_ms_count, model_ms_sum: Of those with a model time.
        own_epoch_errors, own_epoch_max_latency_ms: Of those in the epoch of the first assignment.
        later_exposures: In the next `settle`.
    """

    unit: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    epoch: NDArray[np.int64]
    version: Categorical
    region: Categorical
    bucket: NDArray[np.float64]
    first_latency_ms: NDArray[np.float64]
    exposures: NDArray[np.float64]
    errors: NDArray[np.float64]
    latency_ms_sum: NDArray[np.float64]
    max_latency_ms: NDArray[np.float64]
    model_ms_count: NDArray[np.float64]
    model_ms_sum: NDArray[np.float64]
    own_epoch_errors: NDArray[np.float64]
    own_epoch_max_latency_ms: NDArray[np.float64]
    later_exposures: NDArray[np.float64]


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


def slot_ms(settle_ms: int) -> int:
    """The length of a slot, in milliseconds. Slots begin at multiples of it; `settle` is a whole
    number of them, because durations are whole seconds."""
    return max(MIN_SLOT_MS, settle_ms // SLOTS)


def unit_id_of(exposure: Exposure, timeline: Timeline) -> int:
    """The `hash64` of the unit that the rule assigned; 0 if the rule assigns no user or session,
    or the request named none."""
    return hash64(_unit_of(exposure, timeline.split(exposure.rule_id)))


def add_exposures(
    connection: Connection, added: Iterable[tuple[Exposure, int | None]], timeline: Timeline
) -> None:
    """Add new exposures, each with its epoch, to the first assignments and the sums."""
    found: dict[str, _Assigned] = {}
    for exposure, epoch in added:
        if not epoch or exposure.reason != Reason.SPLIT:
            continue
        split = timeline.split(exposure.rule_id)
        if unit := _unit_of(exposure, split):
            if split.digest not in found:
                found[split.digest] = _Assigned(split)
            found[split.digest].add(unit, epoch, exposure)
    for assigned in found.values():
        assigned.write(connection)


def read(connection: Connection, experiment: str, settle_ms: int, scope: Scope) -> ExperimentUnits:
    """The units that were first assigned in a scope.

    Args:
        experiment: The digest of its terms.
        settle_ms: Of its rule.
    """
    latest_ms = _firsts.at_ms + literal(settle_ms - slot_ms(settle_ms), BigInteger)
    is_early = _sums.from_ms <= latest_ms
    is_own = and_(is_early, _sums.epoch == _firsts.epoch)
    counts = {
        "exposures": _total(is_early, _sums.exposures),
        "errors": _total(is_early, _sums.errors),
        "model_ms_count": _total(is_early, _sums.model_ms_count),
        "own_epoch_errors": _total(is_own, _sums.errors),
        "later_exposures": _total(~is_early, _sums.exposures),
    }
    times = {
        "latency_ms_sum": func.sum(case((is_early, _sums.latency_ms_sum), else_=0.0)),
        "max_latency_ms": func.max(case((is_early, _sums.max_latency_ms), else_=0.0)),
        "model_ms_sum": func.sum(case((is_early, _sums.model_ms_sum), else_=0.0)),
        "own_epoch_max_latency_ms": func.max(case((is_own, _sums.max_latency_ms), else_=0.0)),
    }
    query = (
        select(
            _firsts.unit,
            _firsts.at_ms,
            _firsts.epoch,
            _firsts.version,
            _firsts.region,
            _firsts.bucket,
            _firsts.latency_ms.label("first_latency_ms"),
            *(total.label(name) for name, total in (counts | times).items()),
        )
        .join_from(
            schema.first_assignments,
            schema.unit_sums,
            and_(_sums.experiment == _firsts.experiment, _sums.unit == _firsts.unit),
        )
        .where(
            _firsts.experiment == experiment, *scope.conditions(schema.first_assignments, "at_ms")
        )
        .group_by(*schema.first_assignments.primary_key)
    )
    columns = Columns(connection, query, categorical=("epoch", "version", "region", *counts))
    unit = columns.numbers("unit", np.int64)
    return ExperimentUnits(
        unit=unit,
        at_ms=columns.numbers("at_ms", np.int64),
        epoch=columns.numbers("epoch", np.int64),
        version=columns.categorical("version"),
        region=columns.categorical("region"),
        bucket=columns.numbers("bucket", np.float64),
        first_latency_ms=columns.numbers("first_latency_ms", np.float64),
        **{name: columns.numbers(name, np.float64) for name in counts | times},
    ).select(np.argsort(unit))  # `aggregate_strings` has no defined order


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


class _Assigned:
    """New exposures of one experiment."""

    def __init__(self, split: EpochSplit) -> None:
        self._split = split
        self._slot_ms = slot_ms(split.settle_ms)
        self._names: dict[int, str] = {}
        # unit -> time, epoch, latency, version and region of its first exposure
        self._firsts: dict[int, tuple[int, int, float, str, str]] = {}
        # (unit, epoch, start of the slot) -> values, in the order of the table
        self._sums: dict[tuple[int, int, int], list[float]] = {}

    def add(self, unit: str, epoch: int, exposure: Exposure) -> None:
        number, at_ms, latency_ms = hash64(unit), exposure.at_ms, exposure.latency_ms
        first = (at_ms, epoch, latency_ms, exposure.assigned or "", exposure.region or "")
        if first < self._firsts.get(number, _NEVER):
            self._names[number], self._firsts[number] = unit, first
        key = (number, epoch, at_ms - at_ms % self._slot_ms)
        sums = self._sums.setdefault(key, [0, 0, 0.0, 0, 0.0, 0.0])
        sums[0] += 1
        sums[1] += exposure.error is not None
        sums[2] += latency_ms
        if (model_ms := exposure.own_model_ms) is not None:
            sums[3] += 1
            sums[4] += model_ms
        if latency_ms > sums[5]:
            sums[5] = latency_ms

    def write(self, connection: Connection) -> None:
        stored_ms = self._stored_firsts(connection)
        self._write_firsts(connection, stored_ms)
        ends_ms = {
            unit: self._end_ms(min(first[0], stored_ms.get(unit, first[0])))
            for unit, first in self._firsts.items()
        }
        kept = [
            (self._split.digest, *key, *sums)
            for key, sums in sorted(self._sums.items())
            if key[2] < ends_ms[key[0]]
        ]
        bulk.merge(connection, schema.unit_sums, kept, "add")
        for unit, at_ms in stored_ms.items():
            if self._end_ms(at_ms) != ends_ms[unit]:
                self._remove_later(connection, unit, ends_ms[unit])

    def _end_ms(self, first_ms: int) -> int:
        """Slots of a unit that begin from this time on are not kept."""
        return first_ms - first_ms % self._slot_ms + 2 * self._split.settle_ms

    def _stored_firsts(self, connection: Connection) -> dict[int, int]:
        """The times of the stored first assignments of these units."""
        return bulk.find(connection, _firsts.at_ms, self._split.digest, list(self._firsts))

    def _write_firsts(self, connection: Connection, stored_ms: Mapping[int, int]) -> None:
        """Write those that are not stored, and those that are not later than the stored ones."""
        rows = [
            (
                *(self._split.digest, unit, at_ms, epoch),
                bucket(self._split.experiment, self._names[unit]),
                *(latency_ms, version, region),
            )
            for unit, (at_ms, epoch, latency_ms, version, region) in sorted(self._firsts.items())
            if at_ms <= stored_ms.get(unit, at_ms)
        ]
        bulk.merge(connection, schema.first_assignments, rows, "keep_earlier")

    def _remove_later(self, connection: Connection, unit: int, end_ms: int) -> None:
        connection.execute(
            schema.unit_sums.delete().where(
                _sums.experiment == self._split.digest,
                _sums.unit == unit,
                _sums.from_ms >= end_ms,
            )
        )


def _unit_of(exposure: Exposure, split: EpochSplit) -> str | None:
    match split.unit:
        case "user":
            return exposure.user
        case "session":
            return exposure.session
        case _:
            return None


def _total(condition: ColumnElement[bool], column: ColumnElement[int]) -> ColumnElement[int]:
    return cast(func.sum(case((condition, column), else_=0)), BigInteger)
