"""Sums of exposures by the minute: counts, latencies, confidences, errors."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from serve_app.clock import MINUTE_MS
from serve_app.recording.records import Exposure
from serve_app.store import schema, sums
from serve_app.store.scope import Scope
from serve_app.store.sums import SumAccumulator


@dataclass(frozen=True, slots=True)
class ExposureSum:
    """Sums over the exposures of one group; a key that is not grouped by is None.

    Attributes:
        at_ms: Start of the time slot, milliseconds since 1970 UTC.
        epoch: 0 for none.
        assigned, region, label, error: Empty for none.
        served_as_assigned: Whether the assigned version made the prediction.
        exposures: Their number; `latency_ms_sum` is over all of them.
        errors: Exposures with an error, including `fallbacks`, which stable served.
        model_ms_count: Exposures with a model time, the sum of which is `model_ms_sum`.
        confidence_sum: Over the exposures with a label.
    """

    at_ms: int | None
    epoch: int | None
    rule_id: str | None
    assigned: str | None
    served_as_assigned: bool | None
    region: str | None
    reason: str | None
    label: str | None
    error: str | None
    exposures: int
    errors: int
    fallbacks: int
    latency_ms_sum: float
    model_ms_count: int
    model_ms_sum: float
    confidence_sum: float


def add_exposures(connection: Connection, added: Iterable[tuple[Exposure, int | None]]) -> None:
    """Add new exposures, each with its epoch."""
    batch = SumAccumulator(schema.exposure_sums)
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
                exposure.error or "",
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
    """The sums in a scope; arguments and errors as in `serve_app.store.sums.read_sums`."""
    rows = sums.read_sums(connection, schema.exposure_sums, scope, by, slot_ms)
    return [ExposureSum(**row) for row in rows]
