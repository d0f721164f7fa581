from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.errors import BadConfig
from serve_app.rules.parse import read_rule
from serve_app.traffic.scenario import (
    Scenario,
    parse_scenario,
    plain_habits,
    read_scenario,
    uniform_scenario,
)

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "docs/scenarios").glob("*.yaml"))

CONTENT: dict[str, Any] = {
    "name": "some",
    "requests": 1000,
    "users": 100,
    "regions": {"AU": 0.25, "DE": 0.75},
    "photographs": [
        {"shares": {"cat": 0.5, "dog": 0.5}},
        {"shares": {"koala": 1}, "regions": ["australia-pacific"], "hours": [7, 8]},
    ],
    "feedback": {"coverage": 0.5, "complaint": {"wrong": 0.5, "right": 0.1}},
    "lost": {"v2": 0.1},
}


def change(path: str, value: Any) -> dict[str, Any]:
    """`CONTENT` with another value at a path such as `photographs.0.shares`."""
    content = deepcopy(CONTENT)
    *parents, last = path.split(".")
    node: Any = content
    for key in parents:
        node = node[int(key) if isinstance(node, list) else key]
    node[last] = value
    return content


def test_a_scenario_is_parsed() -> None:
    scenario = parse_scenario(CONTENT)
    assert scenario.labels == ("cat", "dog", "koala")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("colour", "red", "is not a key here: the keys are name, requests, users, "),
        ("requests", 0, "is 0: expected at least 1"),
        ("requests", "many", "is 'many': expected a whole number"),
        ("users", 2_000_000, "is 2000000: expected at most 1000000"),
        ("activity_sigma", -1, "is -1: expected at least 0"),
        ("regions", {"AU": 0.5}, "sums to 0.5: expected shares that sum to 1"),
        ("regions", {}, "sums to 0: expected shares that sum to 1"),
        ("photographs", [], "is an empty list: expected at least 1 entry"),
        ("photographs.0.shares", {"cat": 0.9}, "sums to 0.9: expected shares that sum to 1"),
        ("photographs.0.shares.cat", 1.5, "is 1.5: expected at most 1; for 1.5 % write 0.015"),
        ("photographs.0.hours", [1], "is set: the first entry must match all requests"),
        ("photographs.0.regions", ["AU"], "is set: the first entry must match all requests"),
        ("photographs.1.hours", [], "is an empty list: expected at least 1 entry"),
        ("feedback.coverage", 1.2, "is 1.2: expected at most 1; for 1.2 % write 0.012"),
        ("feedback.complaint", {"wrong": 0.5}, "is missing"),
        ("feedback.rating", 3, "is not a key here: the keys are coverage, "),
        ("feedback.complaint_extra", {"v2": 0.6}, "is 0.6: with complaint.wrong 0.5 the sum is no"),
        (
            "feedback.complaint_extra",
            {"v2": -0.2},
            "is -0.2: with complaint.right 0.1 the sum is no",
        ),
        ("lost.v2", -0.1, "is -0.1: expected at least 0"),
    ],
)
def test_an_invalid_value_is_rejected_with_its_path(path: str, value: Any, message: str) -> None:
    with pytest.raises(BadConfig) as rejection:
        parse_scenario(change(path, value))
    assert rejection.value.path.startswith(path)
    assert rejection.value.message.startswith(message)


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ({"XX": 1.0}, "regions.XX is 'XX': expected the code of a country (ISO 3166-1 alpha-2)"),
        ({"au": 1.0}, "regions.au is 'au': expected the code of a country (ISO 3166-1 alpha-2)"),
        ({False: 1.0}, 'is false, which YAML 1.1 makes of NO (Norway): write "NO"'),
    ],
)
def test_an_invalid_country_is_rejected(regions: dict[Any, float], message: str) -> None:
    with pytest.raises(BadConfig) as rejection:
        parse_scenario(change("regions", regions))
    assert message in str(rejection.value)


def test_an_invalid_version_or_region_is_rejected() -> None:
    with pytest.raises(BadConfig, match=r"^lost\.second is 'second': expected v and a number"):
        parse_scenario(change("lost", {"second": 0.1}))
    with pytest.raises(BadConfig, match=r"^photographs\.1\.regions\.0 is 'Mars'"):
        parse_scenario(change("photographs.1.regions", ["Mars"]))


def test_a_scenario_is_immutable() -> None:
    scenario = parse_scenario(CONTENT)
    with pytest.raises(ValidationError, match="frozen"):
        scenario.requests = 1


def test_scaling_keeps_the_requests_per_user() -> None:
    scenario = parse_scenario(CONTENT)
    assert (scenario.scale(500).requests, scenario.scale(500).users) == (500, 50)
    assert (scenario.scale(1).requests, scenario.scale(1).users) == (1, 1)


def test_a_uniform_scenario_has_the_shares_of_its_lists() -> None:
    scenario = uniform_scenario(
        10, 5, ["AU", "AU", "DE", "DE"], ["cat", "cat", "cat", "dog"], plain_habits()
    )
    assert scenario.regions == {"AU": 0.5, "DE": 0.5}
    assert scenario.photographs[0].shares == {"cat": 0.75, "dog": 0.25}
    assert scenario == Scenario.model_validate(scenario.model_dump())


def test_plain_habits_may_have_planted_effects() -> None:
    habits = plain_habits(0.5, {"v2": 0.1})
    assert habits
    assert (habits.coverage, habits.complaint_extra) == (0.5, {"v2": 0.1})
    assert plain_habits(0) is None
    for extra in ({"second": 0.1}, {"v2": 0.9}, {"v2": math.nan}):
        with pytest.raises(BadConfig, match="complaint_extra"):
            plain_habits(0.5, extra)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_shipped_scenario_can_be_played(path: Path) -> None:
    """It has a rule, one sentence on what happens, and as many users as requests need."""
    scenario = read_scenario(path)
    assert scenario.name == path.stem
    assert scenario.rule
    assert scenario.rule["experiment"] == scenario.name
    assert scenario.about.endswith(".")
    assert "\n" not in scenario.about
    assert (scenario.requests / scenario.users, len(scenario.regions)) in ((10, 8), (5, 8))
    assert f"# Play:   serve-app scenario play {path.stem}" in path.read_text().splitlines()
    rule = read_rule(scenario.rule)
    assert set(rule.versions.values()) <= {"v1", "v2", *scenario.test_versions}


def test_an_invalid_rule_or_test_version_is_rejected() -> None:
    with pytest.raises(BadConfig, match=r"^rule\.kind"):
        parse_scenario(CONTENT | {"rule": {"kind": "lottery"}})
    for copy in ({"of": "v2"}, {"of": "second", "fail": 0.1}, {"of": "v2", "fail": 2}):
        with pytest.raises(BadConfig, match="test_versions"):
            parse_scenario(CONTENT | {"test_versions": {"v102": copy}})
