"""Which configuration a start uses, and its revision. Runs while the Controller does not."""

from __future__ import annotations

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
from serve_app.store.revisions import (
    NewRevision,
    Revision,
    RevisionKind,
    RevisionState,
    audit_entry,
)
from serve_app.store.store import Store

SEARCHED_REVISIONS = 20


@dataclass(frozen=True, slots=True)
class LastRevisions:
    """The revisions of earlier starts.

    Attributes:
        in_force: The last one that was in force; None without one.
        later: Later ones, that never came into force and did not fail, newest first.
    """

    in_force: Revision | None
    later: tuple[Revision, ...]


def last_revisions(store: Store) -> LastRevisions:
    """The last revision that was in force, and later ones.

    A revision without a data plane is passed over: nothing could be started from it.
    """
    found = store.revisions(SEARCHED_REVISIONS, in_force=True)
    last = next((revision for revision in found if _has_data_plane(revision.document)), None)
    number = last.number if last else 0
    later = store.revisions(SEARCHED_REVISIONS, RevisionState.DEPLOYED, RevisionState.PENDING)
    return LastRevisions(last, tuple(r for r in later if r.number > number))


def describe_difference(before: Revision, document: dict[str, Any]) -> tuple[str, ...]:
    """What a start with another configuration changes, one sentence each."""
    cards = CardCache(config.registry_folder(document))
    return preview(before.document, document, cards.labels, cards.faults).changes


def record_start(store: Store, document: dict[str, Any], actor: str, reason: str) -> int:
    """Record the start of a configuration; returns the number of its revision.

    A recreation that was under way, and a revision that was not deployed yet, ended with the
    service.
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
    for pending in store.revisions(1, RevisionState.PENDING):
        message = "the service was stopped before it was deployed"
        entry = replace(audit_entry(pending, pending.number), reason=message)
        store.settle_revision(pending.number, RevisionState.FAILED, entry, at_ms)
    new = NewRevision(RevisionKind.START, document, actor, reason)
    number = store.add_revision(new, at_ms)
    store.settle_revision(number, RevisionState.DEPLOYED, audit_entry(new, number), at_ms)
    return number


def _has_data_plane(document: dict[str, Any]) -> bool:
    try:
        data_plane(document)
    except (BadConfig, KeyError, TypeError):
        return False
    return True
