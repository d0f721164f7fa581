"""Checks of the pools in a deployment file against its rule."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.deployment import config
from serve_app.deployment.pool_requirements import replica_bounds
from serve_app.errors import BadConfig
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, SINGLE

KNOWN = ("v1", "v2", "v3")
ONE = {"autoscaling_config": {"min_replicas": 1}}
PATCH = {"version": "v2", "replicas": 1, "of": 4}
PATCHED = {"user_config": {"version": "v1", "patch": PATCH}}
FROZEN = PATCHED | {"autoscaling_config": {"min_replicas": 4, "max_replicas": 4}}


def document(
    rule: dict[str, Any],
    stable: dict[str, Any] | None = None,
    candidate: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A deployment file; by default the pools have v1 and v2 and no autoscaling_config."""
    pools = {
        "StablePool": {"user_config": {"version": "v1"}} | (stable or {}),
        "CandidatePool": {"user_config": {"version": "v2"}} | (candidate or {}),
    }
    deployments = [
        {"name": "Ingress", "user_config": {"rule": rule}},
        *({"name": name, **pool} for name, pool in pools.items()),
    ]
    return deepcopy(
        {
            "applications": [
                {"name": "animals", "deployments": deployments},
                {"name": "control", "route_prefix": "/control"},
            ]
        }
    )


VALID: dict[str, dict[str, Any]] = {
    "single": document(SINGLE),
    "single during an update": document(SINGLE, {"user_config": {"version": "v2"}}),
    "single with another version in the idle pool": document(
        SINGLE, candidate={"user_config": {"version": "v3"}}
    ),
    "single with a candidate pool of one replica": document(SINGLE, candidate=ONE),
    "shadow": document(SHADOW, candidate=ONE),
    "shadow in the background": document(
        SHADOW, candidate=ONE | {"user_config": {"version": "v2", "background": True}}
    ),
    "shadow during an update": document(SHADOW, {"user_config": {"version": "v3"}}, ONE),
    "canary_parallel": document(PARALLEL, candidate=ONE),
    "canary_parallel of a fixed size": document(
        PARALLEL, candidate={"autoscaling_config": {"min_replicas": 2, "max_replicas": 2}}
    ),
    "canary_parallel with the default min_replicas": document(
        PARALLEL, candidate={"autoscaling_config": {"max_replicas": 3}}
    ),
    "canary_rolling": document(ROLLING, FROZEN),
    "canary_rolling with an idle candidate pool": document(
        ROLLING, FROZEN, {"user_config": {"version": "v3"}}
    ),
    "ab_test": document(AB, candidate=ONE),
}


@pytest.mark.parametrize("name", VALID)
def test_check_returns_the_rule_of_a_valid_file(name: str) -> None:
    assert config.check(VALID[name], KNOWN).kind == name.split()[0]


STABLE, CANDIDATE = "animals.StablePool", "animals.CandidatePool"
BACKGROUND = {"user_config": {"version": "v2", "background": True}}
INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "another candidate": (
        document(PARALLEL, candidate=ONE | {"user_config": {"version": "v3"}}),
        f"{CANDIDATE}.user_config.version is v3: rule.candidate is v2",
    ),
    "another treatment": (
        document(AB | {"treatment": "v3"}, candidate=ONE),
        f"{CANDIDATE}.user_config.version is v2: rule.treatment is v3",
    ),
    "another shadow": (
        document(SHADOW | {"candidate": "v3"}, candidate=ONE),
        f"{CANDIDATE}.user_config.version is v2: rule.candidate is v3",
    ),
    "no replica by default": (
        document(PARALLEL),
        f"{CANDIDATE}.autoscaling_config.min_replicas is not above 0: canary_parallel needs",
    ),
    "min_replicas of 0": (
        document(AB, candidate={"autoscaling_config": {"min_replicas": 0}}),
        f"{CANDIDATE}.autoscaling_config.min_replicas is not above 0: ab_test needs",
    ),
    "no replica of a shadow": (
        document(SHADOW, candidate={"autoscaling_config": {"min_replicas": None}}),
        f"{CANDIDATE}.autoscaling_config.min_replicas is not above 0: shadow needs",
    ),
    "another stable under a canary": (
        document(PARALLEL, {"user_config": {"version": "v3"}}, ONE),
        f"{STABLE}.user_config.version is v3: rule.stable is v1",
    ),
    "another stable under a rolling canary": (
        document(ROLLING, FROZEN | {"user_config": {"version": "v3", "patch": PATCH}}),
        f"{STABLE}.user_config.version is v3: rule.stable is v1",
    ),
    "another control": (
        document(AB, {"user_config": {"version": "v2"}}, ONE),
        f"{STABLE}.user_config.version is v2: rule.control is v1",
    ),
    "a missing patch": (
        document(ROLLING, {"autoscaling_config": FROZEN["autoscaling_config"]}),
        f"{STABLE}.user_config.patch is none: the rule needs {{version: v2, replicas: 1, of: 4}}",
    ),
    "a patch of another version": (
        document(
            ROLLING,
            FROZEN | {"user_config": {"version": "v1", "patch": PATCH | {"version": "v3"}}},
        ),
        f"{STABLE}.user_config.patch is {{version: v3, replicas: 1, of: 4}}: the rule needs {{ver",
    ),
    "a patch of more replicas": (
        document(
            ROLLING, FROZEN | {"user_config": {"version": "v1", "patch": PATCH | {"replicas": 2}}}
        ),
        f"{STABLE}.user_config.patch is {{version: v2, replicas: 2, of: 4}}",
    ),
    "a leftover patch": (
        document(SINGLE, FROZEN),
        f"{STABLE}.user_config.patch is {{version: v2, replicas: 1, of: 4}}: the rule needs none",
    ),
    "a patch under a parallel canary": (
        document(PARALLEL, FROZEN, ONE),
        f"{STABLE}.user_config.patch is {{version: v2, replicas: 1, of: 4}}: the rule needs none",
    ),
    **{
        name: (
            document(ROLLING, PATCHED | size),
            f"{STABLE}.autoscaling_config does not freeze the pool: canary_rolling needs 4",
        )
        for name, size in {
            "another size": {"autoscaling_config": {"min_replicas": 3, "max_replicas": 3}},
            "a size that can grow": {"autoscaling_config": {"min_replicas": 4, "max_replicas": 5}},
            "a size that can fall": {"autoscaling_config": {"min_replicas": 3, "max_replicas": 4}},
            "the default max_replicas": {"autoscaling_config": {"min_replicas": 4}},
            "no autoscaling_config": {},
        }.items()
    },
    "background under a canary": (
        document(PARALLEL, candidate=ONE | BACKGROUND),
        f"{CANDIDATE}.user_config.background is true: under canary_parallel users wait",
    ),
    "background under an A/B test": (
        document(AB, candidate=ONE | BACKGROUND),
        f"{CANDIDATE}.user_config.background is true: under ab_test users wait",
    ),
    "background without a candidate": (
        document(SINGLE, candidate=BACKGROUND),
        f"{CANDIDATE}.user_config.background is true: under single",
    ),
    "stable in the background": (
        document(SHADOW, {"user_config": {"version": "v1", "background": True}}, ONE),
        f"{STABLE}.user_config.background is true: under shadow users wait for the pool",
    ),
    "a patch of the candidate pool": (
        document(PARALLEL, candidate=ONE | {"user_config": {"version": "v2", "patch": PATCH}}),
        f"{CANDIDATE}.user_config.patch is {{version: v2, replicas: 1, of: 4}}: the rule needs no",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_pools_that_do_not_fit_the_rule_are_rejected(name: str) -> None:
    invalid, message = INVALID[name]
    with pytest.raises(BadConfig) as caught:
        config.check(invalid, KNOWN)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ({"min_replicas": 0, "max_replicas": 2}, (0, 2)),
        ({"min_replicas": 3, "max_replicas": 3, "initial_replicas": 3}, (3, 3)),
        ({"min_replicas": 0}, (0, 1)),
        ({"max_replicas": 9}, (1, 9)),
        ({}, (1, 1)),
        (None, None),
        ("auto", None),
        ({"min_replicas": "2", "max_replicas": 2}, None),
        ({"min_replicas": 2, "max_replicas": None}, None),
    ],
)
def test_replica_bounds_have_the_defaults_of_serve(
    scaling: Any, expected: tuple[int, int] | None
) -> None:
    assert replica_bounds(scaling) == expected


values = st.one_of(st.none(), st.integers(-2, 4), st.text(max_size=3), st.booleans(), st.lists(
    st.integers(), max_size=2))  # fmt: skip


@given(
    rule=st.sampled_from([SINGLE, SHADOW, PARALLEL, ROLLING, AB]),
    key=st.sampled_from(
        ["num_replicas", "autoscaling_config", "min_replicas", "max_replicas", "bounds", "patch"]
    ),
    value=values,
)
def test_arbitrary_sizes_raise_only_bad_config(rule: dict[str, Any], key: str, value: Any) -> None:
    """`serve-app deploy` runs this check before Serve's schema validates the file."""
    size = {"autoscaling_config": {key: value}} if key.endswith("replicas") else {key: value}
    if key == "num_replicas":
        size = {key: value}
    if key == "bounds":
        size = {"autoscaling_config": dict.fromkeys(("min_replicas", "max_replicas"), value)}
    if key == "patch":
        size = {"user_config": {"version": "v1", "patch": value}}
    for pool in ("stable", "candidate"):
        with suppress(BadConfig):
            config.check(document(rule, **{pool: size}), KNOWN)
