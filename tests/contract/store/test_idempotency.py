"""Keys of changes: whose they are, what was answered, and for how long."""

from __future__ import annotations

from serve_app.store.idempotency import KEPT_MS, Claim
from serve_app.store.store import Store, open_store


def test_a_key_is_whose_who_claims_it_first(store: Store) -> None:
    assert store.claim_key("k", "one", at_ms=1) is None
    assert store.claim_key("k", "one", at_ms=2) == Claim("one", None)
    assert store.claim_key("k", "two", at_ms=2) == Claim("one", None)
    assert store.claim_key("other", "two", at_ms=2) is None


def test_what_was_answered_is_told_also_by_a_store_that_is_opened_anew(
    store: Store, url: str
) -> None:
    store.claim_key("k", "one", at_ms=1)
    store.claim_key("other", "two", at_ms=1)
    store.settle_key("k", 7)
    again = open_store(url)
    assert again.claim_key("k", "one", at_ms=2) == Claim("one", 7)
    assert again.claim_key("other", "two", at_ms=2) == Claim("two", None)
    again.close()


def test_a_key_that_was_released_is_anybodys(store: Store) -> None:
    for key in ("k", "other"):
        store.claim_key(key, "one", at_ms=1)
    store.release_key("k")
    assert store.claim_key("k", "two", at_ms=2) is None
    assert store.claim_key("other", "two", at_ms=2) == Claim("one", None)


def test_after_a_day_a_key_is_forgotten(store: Store) -> None:
    store.claim_key("k", "one", at_ms=1)
    store.settle_key("k", 7)
    assert store.claim_key("k", "one", at_ms=KEPT_MS) == Claim("one", 7)
    assert store.claim_key("k", "two", at_ms=KEPT_MS + 1) is None
