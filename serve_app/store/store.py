"""The store, as the rest of the program sees it."""

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
from serve_app.store.units import Assignments, FirstAssignments, UnitExposureSums


def open_store(url: str) -> Store:
    """The store in a database, which is created or brought up to date.

    Args:
        url: SQLAlchemy's, of a SQLite file or a PostgreSQL database.

    Raises:
        StoreError: The database cannot be used.
    """
    database = Database(url)
    try:
        with database.writing() as connection:
            migrate(connection)
    except BaseException:
        database.close()
        raise
    return Store(database)


def read_store(url: str) -> Store:
    """The store in a database that another process keeps up to date.

    Raises:
        StoreError: The database cannot be used.
    """
    return Store(Database(url))


class Store:
    """Every method is one transaction, and raises `StoreError` if the database fails.

    Safe to use from several threads. Times are milliseconds since 1970 UTC; what is listed
    begins with the newest.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, batch: Batch) -> None:
        """Store what a writer tells, and add it to the sums.

        A batch that comes again changes nothing; what is older than what `prune` removed is
        rejected and counted.
        """
        with self._database.writing() as connection:
            for adoption in batch.adoptions:
                epochs.adopt(connection, batch.writer, adoption)
            batch = retention.admit(connection, batch)
            timeline = Timeline(connection, batch.rule_ids)
            added = idempotent_insert.add(connection, schema.exposures, batch.exposures, timeline)
            pairs = idempotent_insert.add(connection, schema.shadow_pairs, batch.pairs, timeline)
            feedback.add(connection, batch, timeline)
            kept_images.add(connection, batch.kept, timeline)
            exposure_sums.add(connection, added)
            latency_sums.add(connection, added)
            units.add(connection, added, timeline)
            pair_sums.add(connection, pairs)
            unit_pairs.add(connection, pairs)
            labelled_feedback.update(connection, added, batch.feedback)
            without_epoch = sum(epoch is None for _, epoch in added)
            outcomes = [pair.outcome for pair, _ in pairs]
            ingress_writers.note(connection, batch, len(added), without_epoch, outcomes)

    def prune(self, now_ms: int, kept: Retention = Retention()) -> int:  # noqa: B008 frozen
        """Remove a slice of what has been kept for long enough; call it until it says 0.

        Returns:
            How many rows were removed.
        """
        with self._database.writing() as connection:
            return retention.prune(connection, now_ms, kept)

    def recording(self) -> Recording:
        """How complete the exposures and the shadow pairs are."""
        with self._database.reading() as connection:
            return ingress_writers.recording(connection)

    def exposures(self, since_ms: int, limit: int) -> list[StoredExposure]:
        """Those answered at `since_ms` or later."""
        with self._database.reading() as connection:
            return exposures.since(connection, since_ms, limit)

    def shadow_pairs(self, since_ms: int, limit: int) -> list[ShadowPair]:
        """Those of what was answered at `since_ms` or later."""
        with self._database.reading() as connection:
            return shadow_pairs.since(connection, since_ms, limit)

    def feedback(self, since_ms: int, limit: int) -> list[Feedback]:
        """What came at `since_ms` or later; the first of an answer is the one that counts."""
        with self._database.reading() as connection:
            return feedback.since(connection, since_ms, limit)

    def epochs(self, limit: int) -> list[Epoch]:
        """By the time at which they started."""
        with self._database.reading() as connection:
            return epochs.latest(connection, limit)

    def epochs_within(
        self, since_ms: int | None = None, until_ms: int | None = None
    ) -> list[Epoch]:
        """Those that lasted at any time of a period, the oldest first."""
        with self._database.reading() as connection:
            return epochs.within(connection, since_ms, until_ms)

    def exposure_sums(
        self, scope: Scope, by: Collection[str] = (), slot_ms: int | None = None
    ) -> list[ExposureSum]:
        """Sums of exposures; see `serve_app.store.sums.read`."""
        with self._database.reading() as connection:
            return exposure_sums.read(connection, scope, by, slot_ms)

    def latencies(
        self, scope: Scope, kind: Kind, by: Collection[str] = (), slot_ms: int | None = None
    ) -> list[Histogram]:
        """Histograms of latencies or model times; see `serve_app.store.latency_sums.read`."""
        with self._database.reading() as connection:
            return latency_sums.read(connection, scope, kind, by, slot_ms)

    def pair_sums(
        self, scope: Scope, by: Collection[str] = (), slot_ms: int | None = None
    ) -> list[PairSum]:
        """Sums of shadow pairs; see `serve_app.store.sums.read`."""
        with self._database.reading() as connection:
            return pair_sums.read(connection, scope, by, slot_ms)

    def pair_counts(self, scope: Scope = EVERYTHING) -> PairCounts:
        """How many shadow pairs each minute had of what."""
        with self._database.reading() as connection:
            return pair_sums.counts(connection, scope)

    def unit_pairs(self, scope: Scope, shared: Collection[str]) -> UnitPairs:
        """What was copied of each unit, beside the labels that both versions know."""
        with self._database.reading() as connection:
            return unit_pairs.read(connection, scope, shared)

    def unit_sums(self, experiment: str, scope: Scope = EVERYTHING) -> UnitExposureSums:
        """What each unit of an experiment met, by epoch, day and version."""
        with self._database.reading() as connection:
            return units.read(connection, experiment, scope)

    def assignments(self, experiment: str, scope: Scope = EVERYTHING) -> Assignments:
        """The first assignment of each unit of an experiment."""
        with self._database.reading() as connection:
            return units.assignments(connection, experiment, scope)

    def first_assignments(
        self, experiment: str, scope: Scope = EVERYTHING
    ) -> list[FirstAssignments]:
        """How many units met an experiment first, by epoch, version and region."""
        with self._database.reading() as connection:
            return units.first_assignments(connection, experiment, scope)

    def labelled_feedback(self, scope: Scope = EVERYTHING) -> LabelledFeedback:
        """Answers with the word on each that counts."""
        with self._database.reading() as connection:
            return labelled_feedback.read(connection, scope)

    def kept_images(self, scope: Scope = EVERYTHING) -> list[StoredImage]:
        """Every one of which anything is known, in the order of `to_review`."""
        with self._database.reading() as connection:
            return kept_images.read(connection, scope)

    def to_review(self, now_ms: int, limit: int) -> list[StoredImage]:
        """Images without a review, at random, and always in the same order."""
        with self._database.reading() as connection:
            return kept_images.to_review(connection, now_ms, limit)

    def reviewed(self, limit: int) -> list[StoredImage]:
        """Images with a review."""
        with self._database.reading() as connection:
            return kept_images.reviewed(connection, limit)

    def waiting_for_review(self, now_ms: int) -> int:
        """How many images have no review."""
        with self._database.reading() as connection:
            return kept_images.waiting(connection, now_ms)

    def kept_image(self, image_id: str, now_ms: int) -> StoredImage | None:
        """None if there is none, or it has expired without a review."""
        with self._database.reading() as connection:
            return kept_images.find(connection, image_id, now_ms)

    def encrypted_image(self, image_id: str, now_ms: int) -> bytes | None:
        """None if it is not kept, or not any more."""
        with self._database.reading() as connection:
            return kept_images.encrypted(connection, image_id, now_ms)

    def add_review(self, digest: str, answer: str, actor: str, reason: str, at_ms: int) -> int:
        """Keep what somebody said of an image that nobody has reviewed; the review's number."""
        with self._database.writing() as connection:
            return reviews.add(connection, digest, answer, actor, reason, at_ms)

    def remove_expired(self, now_ms: int) -> int:
        """Remove images whose time has come; how many."""
        with self._database.writing() as connection:
            return kept_images.remove_expired(connection, now_ms)

    def export(
        self, name: str, path: Path, since_ms: int | None = None, until_ms: int | None = None
    ) -> int:
        """Write a table to a file; see `serve_app.store.export.export`."""
        with self._database.reading() as connection:
            return export.export(connection, name, path, since_ms, until_ms)

    def add_revision(self, document: dict[str, Any], actor: str, reason: str, at_ms: int) -> int:
        """The number of a revision with this document.

        It is the latest one's if that has the same document; then nothing is added.
        """
        with self._database.writing() as connection:
            return revisions.add(connection, document, actor, reason, at_ms)

    def revisions(self, limit: int) -> list[Revision]:
        with self._database.reading() as connection:
            return revisions.latest(connection, limit)

    def revision(self, number: int) -> Revision | None:
        """None if there is no such number."""
        with self._database.reading() as connection:
            return revisions.find(connection, number)

    def add_audit(
        self, action: str, actor: str, reason: str, details: dict[str, Any], at_ms: int
    ) -> None:
        """Remember a change, and who made it."""
        with self._database.writing() as connection:
            audit.add(connection, action, actor, reason, details, at_ms)

    def audit(self, limit: int) -> list[AuditEntry]:
        with self._database.reading() as connection:
            return audit.latest(connection, limit)

    def claim_key(self, key: str, request: str, at_ms: int) -> Claim | None:
        """None if an idempotency key is this request's from now on; else what it stands for.

        A key is forgotten after `idempotency.KEPT_MS`.
        """
        with self._database.writing() as connection:
            return idempotency.claim(connection, key, request, at_ms)

    def settle_key(self, key: str, revision: int) -> None:
        """Keep what was answered under a key."""
        with self._database.writing() as connection:
            idempotency.settle(connection, key, revision)

    def release_key(self, key: str) -> None:
        """Forget a key under which nothing was done."""
        with self._database.writing() as connection:
            idempotency.release(connection, key)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
