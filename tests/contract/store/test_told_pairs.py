"""Copied images whose true label a user told."""

from __future__ import annotations

from typing import Any

from serve_app.store.scope import EVERYTHING, Scope
from serve_app.store.store import Store
from serve_app.store.units import hash64
from tests.factories import EXPOSURE, OTHER_WRITER, adoption, batch, exposure, feedback_on, pair_of

SERVED: dict[str, Any] = {"served": "v1", "assigned": "v1", "error": None, "label": "dog"}
UNIT = hash64(EXPOSURE.user)


def told(store: Store, scope: Scope = EVERYTHING) -> list[tuple[int, str, str, str, float]]:
    found = store.told_pairs(scope)
    texts = (found.stable_label, found.candidate_label, found.true_label)
    columns = (found.unit.tolist(), *(t.texts().tolist() for t in texts), found.images.tolist())
    return sorted(zip(*columns, strict=True))


def test_feedback_with_a_true_label_is_joined_with_the_pair(store: Store) -> None:
    live = [exposure(n, at_ms=n * 60_000, **SERVED) for n in range(1, 8)]
    contents: list[dict[str, Any]] = [
        {"label": "koala"},
        {"label": "koala", "complaint": True},
        {"correct": True},  # tells no label, as the next ones
        {"complaint": True},
        {"correct": False},
        {"label": "dog"},
        {"unknown_label": "kaola"},
    ]
    store.record(
        batch(
            adoption("a", 0),
            *live,
            *(pair_of(one, "koala") for one in live[:5]),
            pair_of(live[5], None),  # the copy failed
            pair_of(live[6], "cat"),
            *(feedback_on(one, 5, **said) for one, said in zip(live, contents, strict=True)),
        )
    )
    store.record(batch(*(pair_of(one, "cat") for one in live), writer=OTHER_WRITER))
    assert told(store) == [(UNIT, "dog", "cat", "", 1), (UNIT, "dog", "koala", "koala", 2)]
    assert told(store, Scope(until_ms=120_000)) == [(UNIT, "dog", "koala", "koala", 1)]


def test_without_feedback_there_is_none(store: Store) -> None:
    live = exposure(1, **SERVED)
    store.record(batch(adoption("a", 0), live, pair_of(live, "koala")))
    assert told(store) == []
