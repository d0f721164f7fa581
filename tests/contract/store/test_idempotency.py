"""Idempotency keys: claims, results and expiry."""

from __future__ import annotations

from serve_app.store.idempotency import KEPT_MS, Claim
from serve_app.store.store import Store, open_store


def test_the_first_request_claims_a_key(store: Store) -> None:
    assert store.claim_key("k", "one", at_ms=1) is None
    assert store.claim_key("k", "one", at_ms=2) == Claim("one", None)
    assert store.claim_key("k", "two", at_ms=2) == Claim("one", None)
    assert store.claim_key("other", "two", at_ms=2) is None


def test_a_result_survives_reopening_the_store(store: Store, url: str) -> None:
    store.claim_key("k", "one", at_ms=1)
    store.claim_key("other", "two", at_ms=1)
    store.settle_key("k", 7)
    reopened = open_store(url)
    assert reopened.claim_key("k", "one", at_ms=2) == Claim("one", 7)
    assert reopened.claim_key("other", "two", at_ms=2) == Claim("two", None)
    reopened.close()


def test_a_released_key_can_be_claimed(store: Store) -> None:
    for key in ("k", "other"):
        store.claim_key(key, "one", at_ms=1)
    store.release_key("k")
    assert store.claim_key("k", "two", at_ms=2) is None
    assert store.claim_key("other", "two", at_ms=2) == Claim("one", None)


def test_a_claim_expires_after_a_day(store: Store) -> None:
    store.claim_key("k", "one", at_ms=1)
    store.settle_key("k", 7)
    assert store.claim_key("k", "one", at_ms=KEPT_MS) == Claim("one", 7)
    assert store.claim_key("k", "two", at_ms=KEPT_MS + 1) is None
