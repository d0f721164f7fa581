"""Exposures by the minute: how many, how fast, how sure, what went wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from serve_app.clock import MINUTE_MS
from serve_app.domain import Exposure
from serve_app.store import schema, sums
from serve_app.store.scope import Scope
from serve_app.store.sums import Sums


@dataclass(frozen=True, slots=True)
class ExposureSum:
    """The exposures of one key; a key that was summed over is None.

    Attributes:
        at_ms: When its slot begins, milliseconds since 1970 UTC.
        epoch: 0 for none.
        assigned, region, label: Empty for none.
        as_assigned: Whether the assigned version answered itself.
        exposures: How many; the latencies are theirs.
        errors: Those with an error, also where stable answered instead: these are `fallbacks`.
        latency_sum, model_sum: Milliseconds.
        modelled: Those with a model time, of which its sum is.
        confidence_sum: Over those with a label.
    """

    at_ms: int | None
    epoch: int | None
    rule_id: str | None
    assigned: str | None
    as_assigned: bool | None
    region: str | None
    reason: str | None
    label: str | None
    exposures: int
    errors: int
    fallbacks: int
    latency_sum: float
    modelled: int
    model_sum: float
    confidence_sum: float


def add(connection: Connection, added: Iterable[tuple[Exposure, int | None]]) -> None:
    """Add exposures that were just stored, each with its epoch."""
    batch = Sums(schema.exposure_sums)
    for exposure, epoch in added:
        served, model_ms = exposure.served, exposure.own_model_ms
        failed = exposure.error is not None
        batch.add(
            (
                epoch or 0,
                exposure.at_ms // MINUTE_MS,
                exposure.rule_id,
                exposure.assigned or "",
                served is not None and served == exposure.assigned,
                exposure.region or "",
                exposure.reason,
                exposure.label or "",
            ),
            (
                1,
                int(failed),
                int(failed and served is not None),
                exposure.latency_ms,
                int(model_ms is not None),
                model_ms or 0.0,
                exposure.confidence or 0.0,
            ),
        )
    batch.write(connection)


def read(
    connection: Connection, scope: Scope, by: Collection[str], slot_ms: int | None
) -> list[ExposureSum]:
    """See `serve_app.store.sums.read`."""
    rows = sums.read(connection, schema.exposure_sums, scope, by, slot_ms)
    return [ExposureSum(**row) for row in rows]
