"""Which configuration a start uses, and its revision. Runs while the Controller does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from serve_app.clock import now_ms
from serve_app.control_plane.preview import preview
from serve_app.data_plane.card_cache import CardCache
from serve_app.deployment import config
from serve_app.deployment.apply_rule import data_plane
from serve_app.errors import BadConfig
from serve_app.store.audit import NewAuditEntry
from serve_app.store.recreations import Phase
from serve_app.store.revisions import NewRevision, Revision, RevisionKind, RevisionState
from serve_app.store.store import Store, open_store

SEARCHED_REVISIONS = 100


@dataclass(frozen=True, slots=True)
class LastRevisions:
    """The revisions of earlier starts.

    Attributes:
        in_force: The last one that was in force; None without one.
        later: Later ones, that never came into force, newest first.
    """

    in_force: Revision | None
    later: tuple[Revision, ...]


@contextmanager
def starting_store(database_url: str) -> Iterator[Store]:
    """The store, for `last_revisions` and `record_start`.

    Raises:
        StoreError: The database cannot be used.
    """
    store = open_store(database_url)
    try:
        yield store
    finally:
        store.close()


def last_revisions(store: Store) -> LastRevisions:
    """The last revision that was in force, and later ones.

    A revision without a data plane is passed over: nothing could be started from it.
    """
    later: list[Revision] = []
    for revision in store.revisions(SEARCHED_REVISIONS):
        if revision.in_force_at_ms is not None and _has_data_plane(revision.document):
            return LastRevisions(revision, tuple(later))
        later.append(revision)
    return LastRevisions(None, tuple(later))


def describe_difference(before: Revision, document: dict[str, Any]) -> tuple[str, ...]:
    """What a start with another configuration changes, one sentence each."""
    cards = CardCache(config.registry_folder(document))
    return preview(before.document, document, cards.labels).changes


def record_start(store: Store, document: dict[str, Any], actor: str, reason: str) -> int:
    """Record the start of a configuration; returns the number of its revision.

    A recreation that was under way ended with the service.
    """
    at_ms = now_ms()
    recreation = store.latest_recreation()
    if recreation and not recreation.is_over:
        message = "the service was stopped during the recreation"
        store.save_recreation(
            replace(recreation, phase=Phase.FAILED, message=message),
            NewAuditEntry("recreate", actor, message, {"revision": recreation.revision}),
            at_ms,
        )
    new = NewRevision(RevisionKind.START, document, actor, reason)
    number = store.add_revision(new, at_ms)
    entry = NewAuditEntry(new.kind.value, actor, reason, {"revision": number})
    store.settle_revision(number, RevisionState.DEPLOYED, entry, at_ms)
    return number


def _has_data_plane(document: dict[str, Any]) -> bool:
    try:
        data_plane(document)
    except (BadConfig, KeyError, TypeError):
        return False
    return True
