"""The interface of the store to the rest of the program."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from serve_app.domain import Feedback, ShadowPair
from serve_app.recording.batch import Batch
from serve_app.store import (
    audit,
    epochs,
    export,
    exposure_sums,
    exposures,
    feedback,
    idempotency,
    idempotent_insert,
    ingress_writers,
    kept_images,
    labelled_feedback,
    latency_sums,
    pair_sums,
    retention,
    reviews,
    revisions,
    schema,
    shadow_pairs,
    unit_pairs,
    units,
)
from serve_app.store.audit import AuditEntry
from serve_app.store.database import Database
from serve_app.store.epochs import Epoch, Timeline
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.exposures import StoredExposure
from serve_app.store.idempotency import Claim
from serve_app.store.ingress_writers import Recording
from serve_app.store.kept_images import StoredImage
from serve_app.store.labelled_feedback import LabelledFeedback
from serve_app.store.latency_sums import Histogram, Kind
from serve_app.store.migrations import migrate
from serve_app.store.pair_sums import PairCounts, PairSum
from serve_app.store.retention import Retention
from serve_app.store.revisions import Revision
from serve_app.store.scope import EVERYTHING, Scope
from serve_app.store.unit_pairs import UnitPairs
from serve_app.store.units import FirstAssignmentCount, FirstAssignments, UnitExposureSums


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

    def recording(self) -> Recording:
        """The completeness of the exposures and the shadow pairs."""
        with self._database.read_transaction() as connection:
            return ingress_writers.read_recording(connection)

    def exposures(self, since_ms: int, limit: int) -> list[StoredExposure]:
        """The exposures with `at_ms` >= `since_ms`."""
        with self._database.read_transaction() as connection:
            return exposures.list_since(connection, since_ms, limit)

    def shadow_pairs(self, since_ms: int, limit: int) -> list[ShadowPair]:
        """The shadow pairs with `at_ms` >= `since_ms`."""
        with self._database.read_transaction() as connection:
            return shadow_pairs.list_since(connection, since_ms, limit)

    def feedback(self, since_ms: int, limit: int) -> list[Feedback]:
        """The feedback with `at_ms` >= `since_ms`."""
        with self._database.read_transaction() as connection:
            return feedback.list_since(connection, since_ms, limit)

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

    def unit_sums(self, experiment: str, scope: Scope = EVERYTHING) -> UnitExposureSums:
        """Sums of an experiment's exposures by unit, epoch, day and version."""
        with self._database.read_transaction() as connection:
            return units.read_unit_sums(connection, experiment, scope)

    def first_assignments(self, experiment: str, scope: Scope = EVERYTHING) -> FirstAssignments:
        """The first assignment of each unit of an experiment."""
        with self._database.read_transaction() as connection:
            return units.read_first_assignments(connection, experiment, scope)

    def first_assignment_counts(
        self, experiment: str, scope: Scope = EVERYTHING
    ) -> list[FirstAssignmentCount]:
        """The first assignments of an experiment, counted by epoch, version and region."""
        with self._database.read_transaction() as connection:
            return units.count_first_assignments(connection, experiment, scope)

    def labelled_feedback(self, scope: Scope = EVERYTHING) -> LabelledFeedback:
        """Predictions with the feedback that counts."""
        with self._database.read_transaction() as connection:
            return labelled_feedback.read(connection, scope)

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

    def add_review(self, digest: str, answer: str, actor: str, reason: str, at_ms: int) -> int:
        """Add the review of an image that has none; return its number."""
        with self._database.write_transaction() as connection:
            return reviews.add_review(connection, digest, answer, actor, reason, at_ms)

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

    def add_revision(self, document: dict[str, Any], actor: str, reason: str, at_ms: int) -> int:
        """Add a revision unless the latest one has the same document; return the latest number."""
        with self._database.write_transaction() as connection:
            return revisions.add_revision(connection, document, actor, reason, at_ms)

    def revisions(self, limit: int) -> list[Revision]:
        with self._database.read_transaction() as connection:
            return revisions.latest(connection, limit)

    def revision(self, number: int) -> Revision | None:
        """The revision with a number; None if there is none."""
        with self._database.read_transaction() as connection:
            return revisions.find(connection, number)

    def add_audit(
        self, action: str, actor: str, reason: str, details: dict[str, Any], at_ms: int
    ) -> None:
        """Add an entry to the audit log."""
        with self._database.write_transaction() as connection:
            audit.add_entry(connection, action, actor, reason, details, at_ms)

    def audit(self, limit: int) -> list[AuditEntry]:
        with self._database.read_transaction() as connection:
            return audit.latest(connection, limit)

    def claim_key(self, key: str, request_digest: str, at_ms: int) -> Claim | None:
        """Claim an idempotency key. Returns the present claim, or None if the key was free.

        A claim expires after `idempotency.KEPT_MS`.
        """
        with self._database.write_transaction() as connection:
            return idempotency.claim(connection, key, request_digest, at_ms)

    def settle_key(self, key: str, revision: int) -> None:
        """Store the result of the request that claimed a key."""
        with self._database.write_transaction() as connection:
            idempotency.settle(connection, key, revision)

    def release_key(self, key: str) -> None:
        """Free a key after a request that changed nothing."""
        with self._database.write_transaction() as connection:
            idempotency.release(connection, key)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
