"""The defaults of an A/B test's outcome."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app.rules.ab_test import Outcome


@pytest.mark.parametrize(
    ("content", "direction", "min_effect"),
    [
        ({}, "decrease", 0.01),
        ({"metric": "complaint"}, "decrease", 0.01),
        ({"metric": "correct"}, "increase", 0.01),
        ({"metric": "rating"}, "increase", 0.1),
        ({"metric": "rating", "direction": "decrease", "min_effect": 0.5}, "decrease", 0.5),
    ],
)
def test_defaults_depend_on_the_metric(
    content: dict[str, Any], direction: str, min_effect: float
) -> None:
    outcome = Outcome.model_validate(content)
    assert outcome.window == "7d"
    assert (outcome.direction, outcome.min_effect) == (direction, min_effect)
