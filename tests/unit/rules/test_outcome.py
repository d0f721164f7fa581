"""What an A/B test is decided by."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app.rules.ab_test import Outcome


@pytest.mark.parametrize(
    ("said", "direction", "min_effect"),
    [
        ({}, "decrease", 0.01),
        ({"metric": "complaint"}, "decrease", 0.01),
        ({"metric": "correct"}, "increase", 0.01),
        ({"metric": "rating"}, "increase", 0.1),
        ({"metric": "rating", "direction": "decrease", "min_effect": 0.5}, "decrease", 0.5),
    ],
)
def test_the_metric_says_which_way_is_better(
    said: dict[str, Any], direction: str, min_effect: float
) -> None:
    """Unless the rule does."""
    outcome = Outcome.model_validate(said)
    assert (outcome.direction, outcome.min_effect) == (direction, min_effect)
