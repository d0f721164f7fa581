"""The counters of each ingress process, compared with the rows in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from serve_app.recording.batch import Batch
from serve_app.recording.records import CopyOutcome
from serve_app.store import retention, schema

_writers = schema.ingress_writers.c


@dataclass(frozen=True, slots=True)
class IngressWriter:
    """The counters of one ingress process.

    Attributes:
        first_seen_ms, last_seen_ms: The earliest and the latest time in its batches, milliseconds
            since 1970 UTC.
        last_sequence: The highest sequence number that it reported.
        stored: Its exposures in the store.
        dropped: The exposures that it reported as dropped.
        without_epoch: Stored exposures of a rule without a recorded adoption.
        pairs: Its shadow pairs in the store.
        dropped_pairs: The shadow pairs that it reported as dropped.
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
        """Exposures that are numbered but not stored: dropped, lost, or in transit."""
        return self.last_sequence - self.stored


@dataclass(frozen=True, slots=True)
class Recording:
    """Completeness of the exposures and the shadow pairs.

    Attributes:
        writers: By `last_seen_ms`, latest first.
        rejected: Exposures, shadow pairs and feedback that arrived older than the retention
            cutoff; see `serve_app.store.retention`.
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
        """The number of shadow pairs by `CopyOutcome`."""
        copied = sum(writer.copied_pairs for writer in self.writers)
        failed = sum(writer.failed_pairs for writer in self.writers)
        return {
            CopyOutcome.COPIED.value: copied,
            CopyOutcome.FAILED.value: failed,
            CopyOutcome.SHED.value: self.pairs - copied - failed,
        }


def update_counters(
    connection: Connection,
    batch: Batch,
    stored: int,
    without_epoch: int,
    outcomes: Sequence[str],
) -> None:
    """Add a batch to the counters of its writer; feedback is not counted.

    Args:
        stored: The number of its new exposures.
        without_epoch: The number of these without an epoch.
        outcomes: The outcomes of its new shadow pairs.
    """
    pairs = len(outcomes)
    copied, failed = outcomes.count(CopyOutcome.COPIED), outcomes.count(CopyOutcome.FAILED)
    times = [adoption.at_ms for adoption in batch.adoptions]
    times += [exposure.at_ms for exposure in batch.exposures]
    times += [pair.at_ms for pair in batch.pairs]
    if not times:
        return
    row = connection.execute(
        select(schema.ingress_writers).where(_writers.writer == batch.writer)
    ).one_or_none()
    if row is None:
        connection.execute(
            insert(schema.ingress_writers).values(
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
            update(schema.ingress_writers)
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


def read_recording(connection: Connection) -> Recording:
    """The counters of all writers."""
    rows = connection.execute(
        select(schema.ingress_writers).order_by(_writers.last_seen_ms.desc(), _writers.writer)
    )
    return Recording(
        tuple(IngressWriter(**row) for row in rows.mappings()), retention.rejected_count(connection)
    )
