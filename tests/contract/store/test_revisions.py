"""Revisions and the audit log."""

from __future__ import annotations

from typing import Any

from serve_app.store.store import Store

V1 = {"rule": {"kind": "single", "stable": "v1"}, "version": "v1"}
V2 = {"rule": {"kind": "single", "stable": "v2"}, "version": "v2"}


def add_revision(store: Store, document: dict[str, Any], at_ms: int = 0) -> int:
    return store.add_revision(document, actor="ada", reason="a better koala", at_ms=at_ms)


def test_revisions_are_numbered_from_1(store: Store) -> None:
    assert [add_revision(store, document) for document in (V1, V2)] == [1, 2]


def test_a_revision_has_its_document_actor_time_and_reason(store: Store) -> None:
    add_revision(store, V1, at_ms=5)
    revision = store.revision(1)
    assert revision is not None
    assert (revision.number, revision.at_ms, revision.document) == (1, 5, V1)
    assert (revision.actor, revision.reason) == ("ada", "a better koala")


def test_the_latest_document_does_not_make_a_new_revision(store: Store) -> None:
    """Not even with its keys in another order."""
    add_revision(store, V1, at_ms=5)
    assert add_revision(store, dict(reversed(V1.items())), at_ms=6) == 1
    assert [revision.at_ms for revision in store.revisions(limit=10)] == [5]


def test_an_earlier_document_makes_a_new_revision_with_its_digest(store: Store) -> None:
    assert [add_revision(store, document) for document in (V1, V2, V1)] == [1, 2, 3]
    digests = [revision.digest for revision in store.revisions(limit=10)]
    assert digests[0] == digests[2] != digests[1]


def test_revisions_are_listed_newest_first(store: Store) -> None:
    for document in (V1, V2, V1):
        add_revision(store, document)
    assert [revision.number for revision in store.revisions(limit=2)] == [3, 2]


def test_an_unknown_number_has_no_revision(store: Store) -> None:
    add_revision(store, V1)
    assert store.revision(2) is None


def test_audit_entries_are_listed_newest_first_with_all_fields(store: Store) -> None:
    for at_ms in (1, 2, 3):
        store.add_audit("rule.set", "ada", "try it", {"weight": 0.1, "at": [at_ms]}, at_ms=at_ms)
    newest, before = store.audit(limit=2)
    assert (newest.at_ms, newest.actor, newest.action, newest.reason) == (
        3,
        "ada",
        "rule.set",
        "try it",
    )
    assert newest.details == {"weight": 0.1, "at": [3]}
    assert newest.id > before.id
