from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.errors import BadConfig
from serve_app.traffic.scenario import Scenario, parse_scenario, read_scenario, uniform_scenario

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
        ("colour", "red", "is rejected: Extra inputs are not permitted"),
        ("requests", 0, "is rejected: Input should be greater than or equal to 1"),
        ("requests", "many", "is rejected: Input should be a valid integer"),
        ("users", 2_000_000, "is rejected: Input should be less than or equal to 1000000"),
        ("activity_sigma", -1, "is rejected: Input should be greater than or equal to 0"),
        ("regions", {"AU": 0.5}, "sums to 0.5: expected shares that sum to 1"),
        ("regions", {}, "sums to 0: expected shares that sum to 1"),
        ("photographs", [], "is rejected: List should have at least 1 item"),
        ("photographs.0.shares", {"cat": 0.9}, "sums to 0.9: expected shares that sum to 1"),
        ("photographs.0.shares.cat", 1.5, "is rejected: Input should be less than or equal to 1"),
        ("photographs.0.hours", [1], "is set: the first entry must match all requests"),
        ("photographs.0.regions", ["AU"], "is set: the first entry must match all requests"),
        ("photographs.1.hours", [], "is rejected: List should have at least 1 item"),
        ("feedback.coverage", 1.2, "is rejected: Input should be less than or equal to 1"),
        ("feedback.complaint", {"wrong": 0.5}, "is rejected: Field required"),
        ("feedback.rating", 3, "is rejected: Extra inputs are not permitted"),
        ("feedback.complaint_extra", {"v2": 0.6}, "is 0.6: with complaint.wrong 0.5 the sum is no"),
        (
            "feedback.complaint_extra",
            {"v2": -0.2},
            "is -0.2: with complaint.right 0.1 the sum is no",
        ),
        ("lost.v2", -0.1, "is rejected: Input should be greater than or equal to 0"),
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
        ({"XX": 1.0}, "regions.XX is 'XX': expected ISO 3166-1 alpha-2, such as AU"),
        ({"au": 1.0}, "regions.au is 'au': expected ISO 3166-1 alpha-2, such as AU"),
        ({False: 1.0}, 'is false: YAML reads NO (Norway) as false; write "NO"'),
    ],
)
def test_an_invalid_country_is_rejected(regions: dict[Any, float], message: str) -> None:
    with pytest.raises(BadConfig) as rejection:
        parse_scenario(change("regions", regions))
    assert message in str(rejection.value)


def test_an_invalid_version_or_region_is_rejected() -> None:
    with pytest.raises(BadConfig, match=r"^lost\.second is rejected"):
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
    scenario = uniform_scenario(10, 5, ["AU", "AU", "DE", "DE"], ["cat", "cat", "cat", "dog"])
    assert scenario.regions == {"AU": 0.5, "DE": 0.5}
    assert scenario.photographs[0].shares == {"cat": 0.75, "dog": 0.25}
    assert scenario == Scenario.model_validate(scenario.model_dump())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_shipped_scenario_has_the_name_of_its_file_and_the_common_size(path: Path) -> None:
    scenario = read_scenario(path)
    assert scenario.name == path.stem
    assert (scenario.requests, scenario.users, len(scenario.regions)) == (20_000, 2_000, 8)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_shipped_scenario_starts_with_a_description_and_commands(path: Path) -> None:
    lines = path.read_text().splitlines()
    head = lines[: lines.index(f"name: {path.stem}")]
    assert all(line.startswith("#") for line in head)
    assert f"#         serve-app traffic --scenario docs/scenarios/{path.name}" in head
    assert sum(str(path.relative_to(ROOT)) in line for line in head) == 2
    for prefix in ("# Rule:   ", "# Run:    ", "# Back:   ", "# Watch:  "):
        assert sum(line.startswith(prefix) for line in head) == 1
