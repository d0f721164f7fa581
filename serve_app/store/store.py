"""The store, as the rest of the program sees it."""

from __future__ import annotations

from typing import Any

from serve_app.domain import Feedback, ShadowPair
from serve_app.recording.batch import Batch
from serve_app.store import audit, epochs, exposures, feedback, revisions, shadow_pairs, writers
from serve_app.store.audit import AuditEntry
from serve_app.store.database import Database
from serve_app.store.epochs import Epoch
from serve_app.store.exposures import StoredExposure
from serve_app.store.migrations import migrate
from serve_app.store.revisions import Revision
from serve_app.store.writers import Recording


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


class Store:
    """Every method is one transaction, and raises `StoreError` if the database fails.

    Safe to use from several threads. Times are milliseconds since 1970 UTC; what is listed
    begins with the newest.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, batch: Batch) -> None:
        """Store what a writer tells; a batch that comes again changes nothing."""
        with self._database.writing() as connection:
            for adoption in batch.adoptions:
                epochs.adopt(connection, batch.writer, adoption)
            added = exposures.add(connection, batch)
            pairs = shadow_pairs.add(connection, batch)
            feedback.add(connection, batch)
            writers.note(connection, batch, added, pairs)

    def recording(self) -> Recording:
        """How complete the exposures and the shadow pairs are."""
        with self._database.reading() as connection:
            return writers.recording(connection)

    def exposures(self, since_ms: int, limit: int) -> list[StoredExposure]:
        """Those answered at `since_ms` or later."""
        with self._database.reading() as connection:
            return exposures.since(connection, since_ms, limit)

    def shadow_pairs(self, since_ms: int, limit: int) -> list[ShadowPair]:
        """Those that had their outcome at `since_ms` or later."""
        with self._database.reading() as connection:
            return shadow_pairs.since(connection, since_ms, limit)

    def shadow_tally(self, rule_id: str | None) -> dict[str, int]:
        """How many shadow pairs of a rule, or of all, had each `Outcome`."""
        with self._database.reading() as connection:
            return shadow_pairs.tally(connection, rule_id)

    def feedback(self, since_ms: int, limit: int) -> list[Feedback]:
        """What came at `since_ms` or later; the first of an answer is the one that counts."""
        with self._database.reading() as connection:
            return feedback.since(connection, since_ms, limit)

    def epochs(self, limit: int) -> list[Epoch]:
        """By the time at which they started."""
        with self._database.reading() as connection:
            return epochs.latest(connection, limit)

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

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
