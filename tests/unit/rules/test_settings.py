"""Keys of rules on how an experiment is judged."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app.errors import BadConfig
from serve_app.rules.canary import Canary
from serve_app.rules.parse import read_rule
from serve_app.rules.shadow import Shadow
from serve_app.rules.split import Split
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW

NEW_KEYS = ("settle", "tolerances")


@pytest.mark.parametrize("content", [PARALLEL, ROLLING, AB, SHADOW])
def test_a_rule_that_was_stored_without_the_keys_has_their_defaults(
    content: dict[str, Any],
) -> None:
    rule = read_rule(content)
    stored = {key: value for key, value in rule.content().items() if key not in NEW_KEYS}
    assert read_rule(stored) == rule
    if isinstance(rule, Split):
        assert (rule.settle, rule.settle_ms) == ("24h", 86_400_000)


def test_tolerances_have_defaults() -> None:
    assert read_rule(PARALLEL).content()["tolerances"] == {"failures": 0.01, "latency": 0.1}
    assert read_rule(SHADOW).content()["tolerances"] == {"failures": 0.01, "disagreement": 0.1}


def test_tolerances_are_read() -> None:
    canary = read_rule(ROLLING | {"tolerances": {"latency": 1.5}, "settle": "90s"})
    assert isinstance(canary, Canary)
    assert (canary.tolerances.failures, canary.tolerances.latency) == (0.01, 1.5)
    assert canary.settle_ms == 90_000
    shadow = read_rule(SHADOW | {"tolerances": {"failures": 0.002, "disagreement": 0.25}})
    assert isinstance(shadow, Shadow)
    assert (shadow.tolerances.failures, shadow.tolerances.disagreement) == (0.002, 0.25)


@pytest.mark.parametrize(
    ("content", "tolerances", "path"),
    [
        (PARALLEL, {"failures": float("nan")}, "rule.tolerances.failures"),
        (PARALLEL, {"failures": "0.1"}, "rule.tolerances.failures"),
        (PARALLEL, {"latency": float("inf")}, "rule.tolerances.latency"),
        (PARALLEL, {"disagreement": 0.1}, "rule.tolerances.disagreement"),
        (PARALLEL, 0.1, "rule.tolerances"),
        (SHADOW, {"failures": 0.0}, "rule.tolerances.failures"),
        (SHADOW, {"latency": 0.1}, "rule.tolerances.latency"),
        (AB, {"failures": 0.1}, "rule.tolerances"),
    ],
)
def test_an_invalid_tolerance_is_rejected_with_the_path_of_the_key(
    content: dict[str, Any], tolerances: Any, path: str
) -> None:
    with pytest.raises(BadConfig) as caught:
        read_rule(content | {"tolerances": tolerances})
    assert caught.value.path == path
