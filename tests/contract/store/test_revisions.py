"""Revisions, recreations and the audit log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from serve_app.store.audit import NewAuditEntry
from serve_app.store.recreations import Phase, Recreation
from serve_app.store.revisions import NewRevision, RevisionKind, RevisionState
from serve_app.store.store import Store

V1 = {"rule": {"kind": "single", "stable": "v1"}, "version": "v1"}
V2 = {"rule": {"kind": "single", "stable": "v2"}, "version": "v2"}
ENTRY = NewAuditEntry("rule", "ada", "try it", {"revision": 1})


def new(document: dict[str, Any], **changes: Any) -> NewRevision:
    return NewRevision(
        **{
            "kind": RevisionKind.RULE,
            "document": document,
            "actor": "ada",
            "reason": "a better koala",
            **changes,
        }
    )


def add(store: Store, document: dict[str, Any], at_ms: int = 0, **changes: Any) -> int:
    return store.add_revision(new(document, **changes), at_ms)


class TestRevisions:
    def test_they_are_numbered_from_1(self, store: Store) -> None:
        assert [add(store, document) for document in (V1, V2)] == [1, 2]

    def test_all_fields_are_kept(self, store: Store) -> None:
        add(store, V1, at_ms=5)
        revision = store.revision(1)
        assert revision is not None
        assert (revision.number, revision.at_ms, revision.document) == (1, 5, V1)
        assert (revision.actor, revision.reason) == ("ada", "a better koala")
        assert (revision.kind, revision.state) == (RevisionKind.RULE, RevisionState.PENDING)
        assert revision.in_force_at_ms is None

    def test_the_latest_document_does_not_make_a_new_one(self, store: Store) -> None:
        """Not even with its keys in another order."""
        add(store, V1, at_ms=5)
        assert add(store, dict(reversed(V1.items())), at_ms=6) == 1
        assert [revision.at_ms for revision in store.revisions(limit=10)] == [5]

    def test_a_failed_document_may_be_tried_again(self, store: Store) -> None:
        store.settle_revision(add(store, V1), RevisionState.FAILED, ENTRY, at_ms=1)
        assert add(store, V1) == 2

    def test_an_earlier_document_makes_a_new_one_with_its_digest(self, store: Store) -> None:
        assert [add(store, document) for document in (V1, V2, V1)] == [1, 2, 3]
        digests = [revision.digest for revision in store.revisions(limit=10)]
        assert digests[0] == digests[2] != digests[1]

    def test_they_are_listed_newest_first_by_state_and_by_force(self, store: Store) -> None:
        for document in (V1, V2, V1):
            add(store, document)
        for number in (1, 2):
            store.settle_revision(number, RevisionState.DEPLOYED, ENTRY, at_ms=1)
        store.set_in_force(1, at_ms=7)

        def numbers(*states: RevisionState, **options: Any) -> list[int]:
            return [r.number for r in store.revisions(2, *states, **options)]

        assert numbers() == [3, 2]
        assert numbers(RevisionState.DEPLOYED) == [2, 1]
        assert numbers(RevisionState.PENDING, RevisionState.DEPLOYED) == [3, 2]
        assert numbers(in_force=True) == [1]

    def test_the_first_time_in_force_stays(self, store: Store) -> None:
        add(store, V1)
        for at_ms in (7, 8):
            store.set_in_force(1, at_ms)
        revision = store.revision(1)
        assert revision
        assert revision.in_force_at_ms == 7

    def test_an_unknown_number_has_none(self, store: Store) -> None:
        add(store, V1)
        assert store.revision(2) is None


class TestRecreations:
    def test_it_starts_with_its_revision(self, store: Store) -> None:
        assert store.latest_recreation() is None
        started = store.start_recreation(new(V2), "v2", at_ms=3)
        assert started == Recreation(1, "v2", Phase.TEARING_DOWN, started_at_ms=3)
        assert store.latest_recreation() == started
        assert [revision.number for revision in store.revisions(10)] == [1]

    def test_its_progress_is_saved_with_an_audit_entry_once(self, store: Store) -> None:
        """The acknowledgement of the first save may have been lost."""
        started = store.start_recreation(new(V2), "v2", at_ms=3)
        building = replace(started, phase=Phase.BUILDING, down_from_ms=4)
        store.save_recreation(building, None, at_ms=5)
        done = replace(
            building, phase=Phase.DONE, down_to_ms=4_504, is_upper_bound=True, message="slow"
        )
        for _ in range(2):
            store.save_recreation(done, ENTRY, at_ms=6)
        assert store.latest_recreation() == done
        assert (done.is_over, done.downtime_s) == (True, 4.5)
        assert (building.is_over, building.downtime_s) == (False, None)
        assert [entry.action for entry in store.audit(10)] == ["rule"]

    def test_another_one_with_the_same_document_has_its_own_revision(self, store: Store) -> None:
        recreation = new(V2, kind=RevisionKind.RECREATE)
        for number in (1, 2):
            assert store.start_recreation(recreation, "v2", at_ms=number).revision == number
        latest = store.latest_recreation()
        assert latest
        assert (latest.phase, latest.started_at_ms) == (Phase.TEARING_DOWN, 2)


def test_audit_entries_are_listed_newest_first_with_all_fields(store: Store) -> None:
    add(store, V1)
    for at_ms in (1, 2, 3):
        entry = NewAuditEntry("rule.set", "ada", "try it", {"weight": 0.1, "at": [at_ms]})
        store.settle_revision(1, RevisionState.DEPLOYED, entry, at_ms=at_ms)
    newest, before = store.audit(limit=2)
    assert (newest.at_ms, newest.actor, newest.action, newest.reason) == (
        3,
        "ada",
        "rule.set",
        "try it",
    )
    assert newest.details == {"weight": 0.1, "at": [3]}
    assert newest.id > before.id
