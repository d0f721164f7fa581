"""The interface of the store to the rest of the program."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from serve_app.recording.batch import Batch
from serve_app.store import (
    audit,
    epochs,
    export,
    exposure_sums,
    feedback,
    idempotent_insert,
    ingress_writers,
    kept_images,
    labelled_feedback,
    latency_sums,
    pair_sums,
    recreations,
    retention,
    reviews,
    revisions,
    schema,
    told_pairs,
    unit_pairs,
    units,
)
from serve_app.store.audit import AuditEntry, NewAuditEntry
from serve_app.store.database import Database, used_bytes
from serve_app.store.epochs import Epoch, Timeline
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.ingress_writers import Recording
from serve_app.store.kept_images import StoredImage
from serve_app.store.labelled_feedback import LabelledFeedback
from serve_app.store.latency_sums import Histogram, Kind
from serve_app.store.migrations import migrate
from serve_app.store.pair_sums import PairCounts, PairSum
from serve_app.store.recreations import Phase, Recreation
from serve_app.store.retention import Retention
from serve_app.store.revisions import NewRevision, Revision, RevisionState
from serve_app.store.scope import EVERYTHING, Scope
from serve_app.store.told_pairs import ToldPairs
from serve_app.store.unit_pairs import UnitPairs
from serve_app.store.units import ExperimentUnits, FirstAssignmentCount


def open_store(url: str) -> Store:
    """Open a database; create the schema or apply the missing migrations.

    Args:
        url: SQLAlchemy URL of a SQLite file or a PostgreSQL database.

    Raises:
        StoreError: The database cannot be used.
    """
    database = Database(url)
    try:
        with database.write_transaction() as connection:
            migrate(connection)
    except BaseException:
        database.close()
        raise
    return Store(database)


def read_store(url: str) -> Store:
    """Open a database that another process migrates and writes.

    Raises:
        StoreError: The database cannot be used.
    """
    return Store(Database(url))


class Store:
    """The store. Each method is one transaction, and raises `StoreError` if the database fails.

    Safe to use from several threads. Times are milliseconds since 1970 UTC. Lists are ordered
    newest first unless stated otherwise.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, batch: Batch) -> None:
        """Store a batch and add its rows to the sums. Idempotent.

        Rows older than the retention cutoff are rejected and counted.
        """
        with self._database.write_transaction() as connection:
            for adoption in batch.adoptions:
                epochs.record_adoption(connection, batch.writer, adoption)
            batch = retention.reject_old(connection, batch)
            timeline = Timeline(connection, batch.rule_ids)
            added = idempotent_insert.insert_new(
                connection, schema.exposures, batch.exposures, timeline
            )
            pairs = idempotent_insert.insert_new(
                connection, schema.shadow_pairs, batch.pairs, timeline
            )
            feedback.add_feedback(connection, batch, timeline)
            kept_images.add_images(connection, batch.kept, timeline)
            exposure_sums.add_exposures(connection, added)
            latency_sums.add_exposures(connection, added)
            units.add_exposures(connection, added, timeline)
            pair_sums.add_pairs(connection, pairs)
            unit_pairs.add_pairs(connection, pairs)
            labelled_feedback.update(connection, added, batch.feedback)
            without_epoch = sum(epoch is None for _, epoch in added)
            outcomes = [pair.outcome for pair, _ in pairs]
            ingress_writers.update_counters(connection, batch, len(added), without_epoch, outcomes)

    def prune(self, now_ms: int, kept: Retention = Retention()) -> int:  # noqa: B008 frozen
        """Remove a bounded number of old rows and sums; call it until it returns 0.

        Returns:
            The number of rows that were removed.
        """
        with self._database.write_transaction() as connection:
            return retention.prune(connection, now_ms, kept)

    def used_bytes(self) -> int | None:
        """The size of the database, bytes; None for PostgreSQL."""
        with self._database.read_transaction() as connection:
            return used_bytes(connection)

    def recording(self) -> Recording:
        """The completeness of the exposures and the shadow pairs."""
        with self._database.read_transaction() as connection:
            return ingress_writers.read_recording(connection)

    def epochs(self, limit: int) -> list[Epoch]:
        """The latest epochs, by their start."""
        with self._database.read_transaction() as connection:
            return epochs.latest(connection, limit)

    def epochs_between(
        self, since_ms: int | None = None, until_ms: int | None = None
    ) -> list[Epoch]:
        """The epochs that overlap a period, oldest first."""
        with self._database.read_transaction() as connection:
            return epochs.epochs_between(connection, since_ms, until_ms)

    def exposure_sums(
        self, scope: Scope, by: Collection[str] = (), slot_ms: int | None = None
    ) -> list[ExposureSum]:
        """Sums of exposures; see `serve_app.store.sums.read_sums`."""
        with self._database.read_transaction() as connection:
            return exposure_sums.read(connection, scope, by, slot_ms)

    def latency_histograms(
        self, scope: Scope, kind: Kind, by: Collection[str] = (), slot_ms: int | None = None
    ) -> list[Histogram]:
        """Histograms of latencies or model times; see `serve_app.store.latency_sums.read`."""
        with self._database.read_transaction() as connection:
            return latency_sums.read(connection, scope, kind, by, slot_ms)

    def pair_sums(
        self, scope: Scope, by: Collection[str] = (), slot_ms: int | None = None
    ) -> list[PairSum]:
        """Sums of shadow pairs; see `serve_app.store.sums.read_sums`."""
        with self._database.read_transaction() as connection:
            return pair_sums.read(connection, scope, by, slot_ms)

    def pair_counts(self, scope: Scope = EVERYTHING) -> PairCounts:
        """Shadow pairs by minute, region, both labels and outcome, oldest first."""
        with self._database.read_transaction() as connection:
            return pair_sums.read_counts(connection, scope)

    def unit_pairs(self, scope: Scope, shared: Collection[str]) -> UnitPairs:
        """Sums of copied pairs by unit; `shared` are the labels that both versions know."""
        with self._database.read_transaction() as connection:
            return unit_pairs.read(connection, scope, shared)

    def experiment_units(
        self, experiment: str, settle_ms: int, scope: Scope = EVERYTHING
    ) -> ExperimentUnits:
        """The units that were first assigned; see `serve_app.store.units.read`."""
        with self._database.read_transaction() as connection:
            return units.read(connection, experiment, settle_ms, scope)

    def first_assignment_counts(
        self, experiment: str, scope: Scope = EVERYTHING
    ) -> list[FirstAssignmentCount]:
        """The first assignments of an experiment, counted by epoch, version and region.

        Args:
            experiment: The digest of its terms.
        """
        with self._database.read_transaction() as connection:
            return units.count_first_assignments(connection, experiment, scope)

    def labelled_feedback(self, scope: Scope = EVERYTHING) -> LabelledFeedback:
        """Predictions with the feedback that counts."""
        with self._database.read_transaction() as connection:
            return labelled_feedback.read(connection, scope)

    def told_pairs(self, scope: Scope = EVERYTHING) -> ToldPairs:
        """Copied images whose true label a user told."""
        with self._database.read_transaction() as connection:
            return told_pairs.read(connection, scope)

    def kept_images(self, scope: Scope = EVERYTHING) -> list[StoredImage]:
        """Images for review, reviewed or not, in the order of `unreviewed_images`."""
        with self._database.read_transaction() as connection:
            return kept_images.read(connection, scope)

    def unreviewed_images(self, now_ms: int, limit: int) -> list[StoredImage]:
        """Images without a review, in an order that is random and does not change."""
        with self._database.read_transaction() as connection:
            return kept_images.unreviewed(connection, now_ms, limit)

    def reviewed_images(self, limit: int) -> list[StoredImage]:
        """Images with a review, latest review first."""
        with self._database.read_transaction() as connection:
            return kept_images.reviewed(connection, limit)

    def count_unreviewed_images(self, now_ms: int) -> int:
        """The number of images without a review."""
        with self._database.read_transaction() as connection:
            return kept_images.count_unreviewed(connection, now_ms)

    def kept_image(self, image_id: str, now_ms: int) -> StoredImage | None:
        """The image with an id; None if it is unknown, or expired without a review."""
        with self._database.read_transaction() as connection:
            return kept_images.find(connection, image_id, now_ms)

    def encrypted_image(self, image_id: str, now_ms: int) -> bytes | None:
        """The encrypted content of an image; None if it is unknown or expired."""
        with self._database.read_transaction() as connection:
            return kept_images.encrypted(connection, image_id, now_ms)

    def add_review(self, digest: str, answer: str, entry: NewAuditEntry, at_ms: int) -> int:
        """Add the review of an image that has none, with its audit entry; return its number."""
        with self._database.write_transaction() as connection:
            number = reviews.add_review(
                connection, digest, answer, entry.actor, entry.reason, at_ms
            )
            audit.add_entry(connection, entry, at_ms)
            return number

    def remove_expired(self, now_ms: int) -> int:
        """Remove expired images; return their number."""
        with self._database.write_transaction() as connection:
            return kept_images.remove_expired(connection, now_ms)

    def export(
        self, name: str, path: Path, since_ms: int | None = None, until_ms: int | None = None
    ) -> int:
        """Write a table to a file; see `serve_app.store.export.export`."""
        with self._database.read_transaction() as connection:
            return export.export(connection, name, path, since_ms, until_ms)

    def add_revision(self, new: NewRevision, at_ms: int) -> int:
        """Add a revision unless the latest one has the same document; return the latest number."""
        with self._database.write_transaction() as connection:
            return revisions.add(connection, new, at_ms)

    def settle_revision(
        self, number: int, state: RevisionState, entry: NewAuditEntry, at_ms: int
    ) -> None:
        """Set the state of a revision, and add an entry to the audit log."""
        with self._database.write_transaction() as connection:
            revisions.set_state(connection, number, state)
            audit.add_entry(connection, entry, at_ms)

    def set_in_force(self, number: int, at_ms: int) -> None:
        """Record when a revision came into force; the first time stays."""
        with self._database.write_transaction() as connection:
            revisions.set_in_force(connection, number, at_ms)

    def revisions(
        self, limit: int, *states: RevisionState, in_force: bool = False
    ) -> list[Revision]:
        """The latest revisions; only those in `states`, and only those that were `in_force`."""
        with self._database.read_transaction() as connection:
            return revisions.latest(connection, limit, *states, in_force=in_force)

    def revision(self, number: int) -> Revision | None:
        """The revision with a number; None if there is none."""
        with self._database.read_transaction() as connection:
            return revisions.find(connection, number)

    def start_recreation(self, new: NewRevision, version: str, at_ms: int) -> Recreation:
        """Add the revision of a recreation, and the recreation."""
        with self._database.write_transaction() as connection:
            new = replace(new, state=RevisionState.DEPLOYED)  # the recreation has its own state
            number = revisions.add(connection, new, at_ms)
            recreation = Recreation(number, version, Phase.TEARING_DOWN, started_at_ms=at_ms)
            recreations.save(connection, recreation)
            return recreation

    def save_recreation(
        self, recreation: Recreation, entry: NewAuditEntry | None, at_ms: int
    ) -> None:
        """Save the progress of a recreation, and add an entry to the audit log if there is one.

        Saving the same progress again adds nothing.
        """
        with self._database.write_transaction() as connection:
            if recreations.latest(connection) == recreation:
                return
            recreations.save(connection, recreation)
            if entry:
                audit.add_entry(connection, entry, at_ms)

    def latest_recreation(self) -> Recreation | None:
        """The latest recreation; None if there was none."""
        with self._database.read_transaction() as connection:
            return recreations.latest(connection)

    def audit(self, limit: int) -> list[AuditEntry]:
        with self._database.read_transaction() as connection:
            return audit.latest(connection, limit)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
