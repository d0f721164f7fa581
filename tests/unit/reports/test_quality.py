"""What users told of the predictions of a split."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.reports.conftest import CANARY, DAY, StoreBuilder, as_json, assess


def versions(builder: StoreBuilder) -> list[dict[str, Any]]:
    quality = as_json(assess("canary", builder.build(), DAY))["quality"]
    found: list[dict[str, Any]] = quality["versions"]
    return found


def test_accuracy_and_confusion_by_version(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    answers: list[tuple[str, dict[str, Any]]] = [
        ("cat", {"label": "cat"}),
        ("dog", {"label": "koala"}),
        ("dog", {"correct": True}),
        ("dog", {"correct": False}),
        ("cat", {"complaint": True}),
        ("cat", {"rating": 5}),
    ]
    for user, (predicted, told) in enumerate(answers):
        builder.add_feedback(builder.add_exposure("v1", user, label=predicted), **told)
    builder.add_feedback(builder.add_exposure("v2", 10, label="koala"), label="koala")
    stable, candidate = versions(builder)
    assert (stable["version"], stable["predictions"]) == ("v1", 4)
    assert stable["accuracy"]["estimate"] == 0.5
    low, high = stable["accuracy"]["interval"]
    assert 0 < low < 0.5 < high < 1
    assert stable["confusion"] == {
        "cat": {"cat": 1},
        "dog": {"dog": 1},
        "koala": {"dog": 1},
        "another label": {"dog": 1},
    }
    assert {label: r["estimate"] for label, r in stable["recall"].items()} == {
        "cat": 1,
        "dog": 1,
        "koala": 0,
    }
    assert (candidate["predictions"], candidate["confusion"]) == (1, {"koala": {"koala": 1}})


def test_a_label_that_no_version_predicts_is_another(builder: StoreBuilder) -> None:
    """So that labels of a third version do not grow the report."""
    builder.adopt_rule(CANARY)
    for user, told in enumerate(("kangaroo", "wombat")):
        builder.add_feedback(builder.add_exposure("v1", user, label="cat"), label=told)
    stable, _ = versions(builder)
    assert stable["confusion"] == {"another label": {"cat": 2}}


def test_labels_that_no_version_has_are_counted_apart(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    for user, reason in enumerate(("split", "split", "tagged")):
        builder.add_feedback(
            builder.add_exposure("v1", user, label="cat", reason=reason), unknown_label="catt"
        )
    assessed = as_json(assess("canary", builder.build(), DAY))["quality"]
    assert assessed["unknown_labels"] == 2
    assert assessed["versions"][0]["predictions"] == 0


def test_only_predictions_of_the_version_itself_count(builder: StoreBuilder) -> None:
    """A fallback is stable's answer to a user of the candidate; a tagged request is no split."""
    builder.adopt_rule(CANARY)
    builder.add_feedback(builder.add_fallback(1, label="dog"), label="cat")
    builder.add_feedback(builder.add_exposure("v2", 2, reason="tagged"), label="cat")
    stable, candidate = versions(builder)
    assert stable["predictions"] == candidate["predictions"] == 0
    assert candidate["accuracy"] == {"estimate": None, "interval": [0.0, 1.0]}


def test_answers_to_one_user_are_not_independent(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    for number in range(40):
        one_user = builder.add_exposure("v1", 1, label="cat")
        builder.add_feedback(one_user, label="cat")
        many_users = builder.add_exposure("v2", 100 + number, label="cat")
        builder.add_feedback(many_users, label="cat")
    stable, candidate = versions(builder)
    assert stable["accuracy"]["interval"][0] == pytest.approx(0, abs=0.05)
    assert candidate["accuracy"]["interval"][0] > 0.8
