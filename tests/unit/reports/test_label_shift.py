"""What a canary's versions predict, and what the report warns of."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.reports import conftest
from tests.unit.reports.conftest import CANARY, DAY, StoreBuilder, as_json, assess


def make_report(builder: StoreBuilder) -> dict[str, Any]:
    return as_json(assess("canary", builder.build(), DAY))


def test_different_label_shares_are_drift(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    for user in range(100):
        builder.add_exposure("v1", user, label="cat" if user % 2 else "dog")
        builder.add_exposure("v2", 1000 + user, label="cat" if user % 10 else "dog")
    report = make_report(builder)
    classes = report["classes"]
    assert classes["counts"] == {"v1": {"cat": 50, "dog": 50}, "v2": {"cat": 90, "dog": 10}}
    assert classes["drift"] is classes["all_labels"]["drift"] is True
    assert report["warnings"] == [
        (
            "Among the labels that both versions know, cat is 50.0 % of the predictions of stable"
            " v1, and 90.0 % of those of candidate v2."
        )
    ]


def test_a_new_label_is_no_drift_of_the_others(builder: StoreBuilder) -> None:
    """A third of v2's predictions are koalas, of cats and dogs alike."""
    builder.adopt_rule(CANARY)
    for user in range(300):
        label = ("cat", "dog")[user % 2]
        builder.add_exposure("v1", user, label=label)
        builder.add_exposure("v2", 1000 + user, label=label if user % 3 else "koala")
    report = make_report(builder)
    assert report["classes"]["drift"] is False
    assert report["classes"]["all_labels"]["drift"] is True
    assert report["warnings"] == []


def test_correlated_images_of_one_user_are_not_drift(builder: StoreBuilder) -> None:
    """One user per version sends a hundred images of one pet, over many hours."""
    builder.adopt_rule(CANARY)
    for number in range(100):
        builder.add_exposure("v1", 1, minute=10 * number, label="cat")
        builder.add_exposure("v2", 2, minute=10 * number, label="dog")
    assert make_report(builder)["classes"]["drift"] is False


def test_versions_without_a_common_label_and_a_fall_of_the_confidence(
    builder: StoreBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(conftest.LABELS, "v2", ("apple", "banana"))
    builder.adopt_rule(CANARY)
    for user in range(50):
        builder.add_exposure("v1", user, label="cat", confidence=0.946)
        builder.add_exposure("v2", 1000 + user, label="apple", confidence=0.329)
    report = make_report(builder)
    assert report["warnings"] == [
        "The versions share no label: candidate v2 says none of those that stable v1 knows.",
        "The mean confidence fell from 94.6 % (stable v1) to 32.9 % (candidate v2).",
    ]
    assert report["confidence"]["difference"] == pytest.approx(-0.617)
    assert report["classes"]["drift"] is None
    assert report["classes"]["all_labels"]["drift"] is True


@pytest.mark.parametrize(("predictions", "confidence"), [(49, 0.3), (50, 0.851)])
def test_a_small_fall_or_few_predictions_give_no_warning(
    builder: StoreBuilder, predictions: int, confidence: float
) -> None:
    builder.adopt_rule(CANARY)
    for user in range(predictions):
        builder.add_exposure("v1", user, confidence=0.95)
        builder.add_exposure("v2", 1000 + user, confidence=confidence)
    assert make_report(builder)["warnings"] == []
