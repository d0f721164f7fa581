"""Recreations of the data plane, and how far each one got."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from sqlalchemy import Connection, RowMapping, delete, insert, select

from serve_app.store import schema

_recreations = schema.recreations.c


class Phase(StrEnum):
    """The phase of a recreation.

    Attributes:
        TEARING_DOWN: The old data plane is being deleted.
        BUILDING: The new data plane is being deployed.
        DONE: The new data plane serves requests.
        FAILED: It could not be deployed; the message says why.
    """

    TEARING_DOWN = "tearing_down"
    BUILDING = "building"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Recreation:
    """A recreation; its document, actor and reason are those of the revision.

    Attributes:
        revision: The number of the revision.
        version: The version of the new data plane.
        started_at_ms: Milliseconds since 1970 UTC.
        down_from_ms, down_to_ms: The bounds of the downtime, milliseconds since 1970 UTC; None
            while unknown.
        is_upper_bound: The Controller restarted meanwhile, so that the downtime may be shorter.
        message: Why it failed.
    """

    revision: int
    version: str
    phase: Phase
    started_at_ms: int
    down_from_ms: int | None = None
    down_to_ms: int | None = None
    is_upper_bound: bool = False
    message: str = ""

    @property
    def is_over(self) -> bool:
        return self.phase in (Phase.DONE, Phase.FAILED)

    @property
    def downtime_s(self) -> float | None:
        """The downtime in seconds; None while it is unknown."""
        if self.down_from_ms is None or self.down_to_ms is None:
            return None
        return (self.down_to_ms - self.down_from_ms) / 1000


def save(connection: Connection, recreation: Recreation) -> None:
    """Add a recreation, or replace the row of its revision."""
    connection.execute(
        delete(schema.recreations).where(_recreations.revision == recreation.revision)
    )
    connection.execute(insert(schema.recreations).values(**asdict(recreation)))


def latest(connection: Connection) -> Recreation | None:
    """The latest recreation; None if there was none."""
    rows = connection.execute(
        select(schema.recreations).order_by(_recreations.revision.desc()).limit(1)
    )
    row = rows.mappings().one_or_none()
    return _recreation(row) if row else None


def _recreation(row: RowMapping) -> Recreation:
    return Recreation(**{**row, "phase": Phase(row["phase"])})
