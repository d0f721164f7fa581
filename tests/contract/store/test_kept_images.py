"""Images for review: kept once, in bounded number, for a limited time; and their reviews."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app.recording.batch import Adoption
from serve_app.store.audit import NewAuditEntry
from serve_app.store.errors import StoreError
from serve_app.store.retention import Retention
from serve_app.store.reviews import Review
from serve_app.store.scope import Scope
from serve_app.store.store import Store
from serve_app.store.units import hash64
from tests.factories import KEPT, WRITER, adoption, batch, kept_image
from tests.rows import contents

BEFORE_MS, AFTER_MS = KEPT.expires_at_ms - 1, KEPT.expires_at_ms
DAY_MS = 86_400_000


def record_images(store: Store, *numbers: int, **changes: Any) -> None:
    """Record images with these sequence numbers, one a second."""
    store.record(batch(*(kept_image(n, at_ms=KEPT.at_ms + 1000 * n, **changes) for n in numbers)))


def add_review(store: Store, number: int, answer: str = "koala") -> int:
    entry = NewAuditEntry("review", "ada", "it has ears", {"image": number})
    return store.add_review(kept_image(number).digest, answer, entry, at_ms=7)


def unreviewed(store: Store) -> list[int]:
    """The sequence numbers of images without a review."""
    return [one.sequence for one in store.unreviewed_images(BEFORE_MS, limit=100)]


def with_content(url: str) -> list[int]:
    """The sequence numbers of images whose content is stored."""
    return sorted(row[1] for row in contents(url)["kept_images"] if row[-1] is not None)


def test_an_image_is_read_as_recorded(store: Store) -> None:
    store.record(batch(KEPT))
    (one,) = store.unreviewed_images(BEFORE_MS, limit=10)
    for name in ("writer", "sequence", "at_ms", "expires_at_ms", "region", "probability", "digest"):
        assert getattr(one, name) == getattr(KEPT, name)
    assert (one.stable, one.live_label, one.candidate, one.label) == ("v1", "dog", "v2", "koala")
    assert (one.labels, one.review, one.is_agreement) == (("cat", "dog", "koala"), None, False)
    assert one.unit == hash64(KEPT.unit)
    assert one.id == f"{WRITER}-1"
    assert store.kept_image(one.id, BEFORE_MS) == one
    assert store.encrypted_image(one.id, BEFORE_MS) == KEPT.encrypted


def test_an_unknown_image_is_none(store: Store) -> None:
    record_images(store, 1)
    for name in (f"{WRITER}-2", "ba9876543210-1"):
        assert store.kept_image(name, BEFORE_MS) is None
        assert store.encrypted_image(name, BEFORE_MS) is None


def test_a_repeated_batch_adds_no_images(store: Store, url: str) -> None:
    for _ in range(2):
        store.record(batch(kept_image(1), kept_image(2)))
    assert with_content(url) == [1, 2]


def test_an_image_is_kept_once_for_each_pair_of_versions(store: Store, url: str) -> None:
    """Otherwise one user's favourite image would count many times."""
    digest = kept_image(1).digest
    store.record(batch(kept_image(1), kept_image(2, digest=digest)))
    store.record(batch(kept_image(3, digest=digest), kept_image(4, digest=digest, candidate="v3")))
    assert with_content(url) == [1, 4]


def test_an_image_belongs_to_the_epoch_of_its_rule(store: Store, url: str) -> None:
    store.record(
        batch(adoption("b", 0), Adoption(5, "aaaaaaaa", '{"kind":"shadow"}'), kept_image(1))
    )
    assert [row[3] for row in contents(url)["kept_images"]] == [2]
    assert [one.sequence for one in store.kept_images(Scope(epochs=[2]))] == [1]
    assert store.kept_images(Scope(epochs=[1])) == []


def test_images_for_review_are_ordered_by_digest(store: Store) -> None:
    """The order is random, because clients cannot choose digests, and does not change."""
    record_images(store, 1, 2, 3)
    assert unreviewed(store) == [3, 2, 1]
    assert [one.sequence for one in store.unreviewed_images(BEFORE_MS, limit=2)] == [3, 2]
    assert store.count_unreviewed_images(BEFORE_MS) == 3


def test_a_review_is_numbered_and_listed_with_its_image(store: Store) -> None:
    record_images(store, 1, 2, 3)
    assert [add_review(store, 2), add_review(store, 1, "cannot_tell")] == [1, 2]
    assert unreviewed(store) == [3]
    assert store.count_unreviewed_images(BEFORE_MS) == 1
    assert [one.sequence for one in store.reviewed_images(limit=10)] == [1, 2]
    (newest,) = store.reviewed_images(limit=1)
    assert newest.review == Review(2, "cannot_tell", 7, "ada", "it has ears")


def test_an_image_is_reviewed_once(store: Store) -> None:
    """The reviewer sees the predictions after the review, so a second one is not blind."""
    record_images(store, 1)
    add_review(store, 1)
    with pytest.raises(StoreError):
        add_review(store, 1, "dog")
    assert [one.review.answer for one in store.reviewed_images(10) if one.review] == ["koala"]


def test_a_review_counts_for_every_pair_of_versions(store: Store) -> None:
    record_images(store, 1)
    add_review(store, 1)
    store.record(batch(kept_image(9, digest=kept_image(1).digest, candidate="v3", label="cat")))
    assert unreviewed(store) == []
    found = [(one.candidate, one.review.number) for one in store.reviewed_images(10) if one.review]
    assert found == [("v2", 1), ("v3", 1)]


@pytest.mark.parametrize("is_removed", [False, True], ids=["not yet removed", "removed"])
def test_an_expired_image_is_not_found(store: Store, url: str, is_removed: bool) -> None:
    record_images(store, 1, 2)
    add_review(store, 2)
    if is_removed:
        assert store.remove_expired(BEFORE_MS) == 0
        assert store.remove_expired(AFTER_MS) == 2
        assert store.remove_expired(AFTER_MS) == 0
        assert with_content(url) == []
    for number in (1, 2):
        assert store.encrypted_image(f"{WRITER}-{number}", AFTER_MS) is None
    assert store.unreviewed_images(AFTER_MS, limit=10) == []
    assert store.count_unreviewed_images(AFTER_MS) == 0
    assert store.kept_image(f"{WRITER}-1", AFTER_MS) is None


def test_a_review_outlives_its_image(store: Store) -> None:
    record_images(store, 1)
    add_review(store, 1)
    before = store.reviewed_images(limit=10)
    store.remove_expired(AFTER_MS)
    assert store.reviewed_images(limit=10) == before == store.kept_images()
    assert store.kept_image(f"{WRITER}-1", AFTER_MS) == before[0]


def test_images_beyond_the_room_are_removed_reviewed_ones_first_then_the_oldest(
    store: Store, url: str
) -> None:
    record_images(store, 1, 2, 3, 4, room=4)
    add_review(store, 3)
    record_images(store, 5, room=4)
    assert with_content(url) == [1, 2, 4, 5]
    record_images(store, 6, 7, room=4)
    assert with_content(url) == [4, 5, 6, 7]
    assert [one.sequence for one in store.reviewed_images(10)] == [3]
    record_images(store, 8, room=1)
    assert with_content(url) == [8]
    assert len(store.kept_images()) == 2


def test_a_reviewed_image_that_expired_is_not_kept_again(store: Store, url: str) -> None:
    record_images(store, 1)
    add_review(store, 1)
    store.remove_expired(AFTER_MS)
    store.record(batch(kept_image(9, digest=kept_image(1).digest)))
    assert with_content(url) == []
    assert len(store.reviewed_images(10)) == 1


def test_a_scope_selects_images(store: Store) -> None:
    store.record(
        batch(kept_image(1), kept_image(2, region=None), kept_image(3, at_ms=KEPT.at_ms + 5))
    )
    scopes = {
        (2, 1): Scope(until_ms=KEPT.at_ms + 5),
        (3,): Scope(since_ms=KEPT.at_ms + 5),
        (3, 1): Scope(regions=["AU"]),
        (): Scope(rule_ids=["bbbbbbbb"]),
    }
    for expected, scope in scopes.items():
        assert tuple(one.sequence for one in store.kept_images(scope)) == expected


def test_reviews_are_removed_with_the_sums(store: Store, url: str) -> None:
    record_images(store, 1)
    add_review(store, 1)
    late = KEPT.at_ms + 3 * DAY_MS
    store.prune(late, Retention(rows_days=1, sums_days=4))
    assert len(contents(url)["kept_images"]) == 1
    store.prune(late, Retention(rows_days=1, sums_days=2))
    assert contents(url)["kept_images"] == contents(url)["reviews"] == []
