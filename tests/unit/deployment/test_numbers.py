from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from serve_app.deployment.numbers import find_faults
from tests.unit.deployment.test_deploy_configs import FILES

POOL = "animals.StablePool"


def faults(entry: dict[str, Any]) -> list[str]:
    return [str(finding) for finding in find_faults(entry, POOL)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_shipped_files_have_no_faults(path: Any) -> None:
    for application in yaml.safe_load(path.read_text())["applications"]:
        for entry in application.get("deployments", []):
            assert faults(entry) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("max_replicas", "two", "is 'two': expected a whole number from 1 to 1000"),
        ("max_replicas", "3", "is '3': expected a whole number from 1 to 1000"),
        ("max_replicas", 10**12, "is 1000000000000: expected a whole number from 1 to 1000"),
        ("max_replicas", 1001, "is 1001: expected a whole number from 1 to 1000"),
        ("max_replicas", True, "is true: expected a whole number from 1 to 1000"),
        ("min_replicas", 1.5, "is 1.5: expected a whole number from 0 to 1000"),
        ("upscale_delay_s", 1e300, "is 1e+300: expected a number from 0 to 86400"),
        ("upscale_delay_s", "10s", "is '10s': expected a number from 0 to 86400"),
        ("target_ongoing_requests", float("nan"), "is nan: expected a number from 0 to 100000"),
    ],
)
def test_a_number_out_of_bounds_is_found(key: str, value: Any, message: str) -> None:
    assert faults({"autoscaling_config": {key: value}}) == [
        f"{POOL}.autoscaling_config.{key} {message}"
    ]


def test_the_order_of_the_sizes_is_checked() -> None:
    sizes = {"min_replicas": 3, "initial_replicas": 2, "max_replicas": 1}
    assert faults({"autoscaling_config": sizes}) == [
        f"{POOL}.autoscaling_config.min_replicas is 3, above initial_replicas, which is 2",
        f"{POOL}.autoscaling_config.initial_replicas is 2, above max_replicas, which is 1",
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"num_replicas": "auto", "max_queued_requests": -1, "ray_actor_options": None},
        {"autoscaling_config": {"min_replicas": 0, "max_replicas": 1000, "upscale_delay_s": 0.5}},
        {"health_check_period_s": None, "ray_actor_options": {"num_cpus": 0.5}},
    ],
)
def test_numbers_within_the_bounds_are_none(entry: dict[str, Any]) -> None:
    assert faults(entry) == []


content = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["min_replicas", "max_replicas", "num_cpus", "upscale_delay_s"]), inner
    ),
    max_leaves=5,
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["num_replicas", "autoscaling_config", "ray_actor_options"]), content
    )
)
def test_any_content_gets_findings(entry: dict[str, Any]) -> None:
    for fault in faults(entry):
        assert fault.startswith(POOL)
