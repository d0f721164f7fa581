"""Writers: what each ingress process counted, against what the store has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from serve_app.domain import CopyOutcome
from serve_app.recording.batch import Batch
from serve_app.store import retention, schema

_writers = schema.writers.c


@dataclass(frozen=True, slots=True)
class IngressWriter:
    """The figures of one ingress process.

    Attributes:
        first_seen_ms, last_seen_ms: The first and the last time in its batches, milliseconds
            since 1970 UTC.
        last_sequence: The last number that it is known to have given out.
        stored: Its exposures in the store.
        dropped: Those that it says it dropped.
        without_epoch: Those stored under a rule that nobody is known to have adopted.
        pairs: Its shadow pairs in the store.
        dropped_pairs: Those that it says it dropped.
        copied_pairs, failed_pairs: Those of `pairs` with that outcome; the others were shed.
    """

    writer: str
    first_seen_ms: int
    last_seen_ms: int
    last_sequence: int
    stored: int
    dropped: int
    without_epoch: int
    pairs: int
    dropped_pairs: int
    copied_pairs: int
    failed_pairs: int

    @property
    def missing(self) -> int:
        """Numbers given out and not stored: dropped, lost, or still on their way."""
        return self.last_sequence - self.stored


@dataclass(frozen=True, slots=True)
class Recording:
    """How complete the exposures and the shadow pairs are.

    Attributes:
        writers: The one seen last first.
        rejected: Exposures, shadow pairs and feedback that came when those of their time had been
            removed already; see `serve_app.store.retention`.
    """

    writers: tuple[IngressWriter, ...]
    rejected: int

    @property
    def stored(self) -> int:
        return sum(writer.stored for writer in self.writers)

    @property
    def dropped(self) -> int:
        return sum(writer.dropped for writer in self.writers)

    @property
    def missing(self) -> int:
        return sum(writer.missing for writer in self.writers)

    @property
    def without_epoch(self) -> int:
        return sum(writer.without_epoch for writer in self.writers)

    @property
    def pairs(self) -> int:
        return sum(writer.pairs for writer in self.writers)

    @property
    def dropped_pairs(self) -> int:
        return sum(writer.dropped_pairs for writer in self.writers)

    @property
    def outcomes(self) -> dict[str, int]:
        """How many of the shadow pairs had each `CopyOutcome`."""
        copied = sum(writer.copied_pairs for writer in self.writers)
        failed = sum(writer.failed_pairs for writer in self.writers)
        return {
            CopyOutcome.COPIED.value: copied,
            CopyOutcome.FAILED.value: failed,
            CopyOutcome.SHED.value: self.pairs - copied - failed,
        }


def note(
    connection: Connection,
    batch: Batch,
    stored: int,
    without_epoch: int,
    outcomes: Sequence[str],
) -> None:
    """Add a batch to the figures of its writer; feedback does not count.

    Args:
        stored: How many of its exposures were new.
        without_epoch: How many of these have no epoch.
        outcomes: Those of its shadow pairs that were new.
    """
    pairs = len(outcomes)
    copied, failed = outcomes.count(CopyOutcome.COPIED), outcomes.count(CopyOutcome.FAILED)
    times = [adoption.at_ms for adoption in batch.adoptions]
    times += [exposure.at_ms for exposure in batch.exposures]
    times += [pair.at_ms for pair in batch.pairs]
    if not times:
        return
    row = connection.execute(
        select(schema.writers).where(_writers.writer == batch.writer)
    ).one_or_none()
    if row is None:
        connection.execute(
            insert(schema.writers).values(
                writer=batch.writer,
                first_seen_ms=min(times),
                last_seen_ms=max(times),
                last_sequence=batch.last_sequence,
                stored=stored,
                dropped=batch.dropped,
                without_epoch=without_epoch,
                pairs=pairs,
                dropped_pairs=batch.dropped_pairs,
                copied_pairs=copied,
                failed_pairs=failed,
            )
        )
    else:
        connection.execute(
            update(schema.writers)
            .where(_writers.writer == batch.writer)
            .values(
                first_seen_ms=min(row.first_seen_ms, *times),
                last_seen_ms=max(row.last_seen_ms, *times),
                last_sequence=max(row.last_sequence, batch.last_sequence),
                stored=row.stored + stored,
                dropped=max(row.dropped, batch.dropped),
                without_epoch=row.without_epoch + without_epoch,
                pairs=row.pairs + pairs,
                dropped_pairs=max(row.dropped_pairs, batch.dropped_pairs),
                copied_pairs=row.copied_pairs + copied,
                failed_pairs=row.failed_pairs + failed,
            )
        )


def recording(connection: Connection) -> Recording:
    """The figures of all writers."""
    rows = connection.execute(
        select(schema.writers).order_by(_writers.last_seen_ms.desc(), _writers.writer)
    )
    return Recording(
        tuple(IngressWriter(**row) for row in rows.mappings()), retention.rejected(connection)
    )
