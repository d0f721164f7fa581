"""From any good deployment file, any good rule makes a good deployment file."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app import config
from serve_app.composition import (
    PROMPT_ROUTING,
    SIZES,
    data_plane,
    deployment,
    with_rule,
    with_version,
    without_data_plane,
)
from serve_app.rules.parse import parse_rule
from serve_app.rules.rule import Rule
from serve_app.scaling import pool_scaling
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, SINGLE

KNOWN = ("v1", "v2", "v3")
BASE: dict[str, Any] = {
    "http_options": {"host": "127.0.0.1", "port": 8000},
    "applications": [
        {
            "name": "animals",
            "route_prefix": "/",
            "import_path": "serve_app.serving.app:animals",
            "deployments": [
                {"name": "Ingress", "user_config": {"rule": SINGLE}},
                {"name": "StablePool", "user_config": {"version": "v1"}},
                {"name": "CandidatePool", "user_config": {"version": "v2"}},
            ],
        },
        {"name": "control", "route_prefix": "/control", "import_path": "x:control"},
    ],
}
OURS = {"user_config", "request_router_config", *SIZES}

pairs = st.permutations(KNOWN).map(lambda names: names[:2])
common = st.fixed_dictionaries(
    {}, optional={k: st.booleans() for k in ("allow_pin", "trust_headers", "reveal_version")}
)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """The content of a good rule of any kind."""
    stable, other = draw(pairs)
    kind = draw(st.sampled_from([SINGLE, SHADOW, PARALLEL, ROLLING, AB]))
    content: dict[str, Any] = kind | draw(common)
    if kind is AB:
        return content | {"control": stable, "treatment": other, "weight": draw(st.floats(0, 1))}
    content |= {"stable": stable} if kind is SINGLE else {"stable": stable, "candidate": other}
    if kind is PARALLEL:
        content |= {"weight": draw(st.floats(0, 0.5))}
    if kind is ROLLING:
        of = draw(st.integers(2, 9))
        content |= {"of": of, "replicas": draw(st.integers(1, of // 2))}
    if kind is SHADOW:
        content |= {"sample": draw(st.floats(0.01, 1))}
    return content


sizes: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.integers(1, 8).map(lambda n: {"num_replicas": n}),
    st.integers(0, 3).map(lambda n: {"autoscaling_config": {"min_replicas": n}}),
    st.just({"autoscaling_config": {"max_replicas": 5}}),
)
others = st.fixed_dictionaries(
    {},
    optional={
        "ray_actor_options": st.just({"num_cpus": 1}),
        "max_ongoing_requests": st.integers(1, 100),
        "request_router_config": st.just({"request_router_class": "elsewhere:Router"}),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A good deployment file, with sizes and options of its owner's."""
    document = deepcopy(BASE)
    document |= draw(st.sampled_from([{}, {"logging_config": {"log_level": "INFO"}}]))
    data_plane(document).update(
        draw(st.sampled_from([{}, {"args": {"backend": "onnx"}}, {"runtime_env": {"pip": []}}]))
    )
    for each in data_plane(document)["deployments"]:
        each.update(draw(sizes) | draw(others))
    data_plane(document)["deployments"] = draw(st.permutations(data_plane(document)["deployments"]))
    if draw(st.booleans()):
        document["applications"].reverse()
    return document


def ruled(document: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    return with_rule(document, content, parse_rule(content, KNOWN))


def unconcerned(document: dict[str, Any]) -> dict[str, Any]:
    """What of a file no rule is about."""
    rest = deepcopy(document)
    for each in data_plane(rest)["deployments"]:
        for key in OURS if each["name"] != "Ingress" else {"user_config"}:
            each.pop(key, None)
    return rest


@settings(max_examples=200)
@given(documents(), st.lists(rules(), min_size=1, max_size=6))
def test_whatever_rules_follow_one_another_each_gets_the_pools_that_it_needs(
    document: dict[str, Any], contents: list[dict[str, Any]]
) -> None:
    assert config.check(document, KNOWN)
    for content in contents:
        before = deepcopy(document)
        changed = ruled(document, content)
        assert document == before, "what was given stays as it was"
        assert config.check(changed, KNOWN).canonical() == parse_rule(content, KNOWN).canonical()
        assert deployment(changed, "Ingress")["user_config"] == {"rule": content}
        assert unconcerned(changed) == unconcerned(document)
        assert ruled(changed, content) == changed, "the same again changes nothing"
        document = changed


@given(documents(), rules())
def test_the_stable_pool_keeps_its_size_unless_its_replicas_are_patched(
    document: dict[str, Any], content: dict[str, Any]
) -> None:
    before, after = (deployment(d, "StablePool") for d in (document, ruled(document, content)))
    if content["kind"] == "canary_rolling":
        assert after["num_replicas"] == content["of"]
        assert "autoscaling_config" not in after
        assert after["request_router_config"] == PROMPT_ROUTING
    else:
        for key in (*SIZES, "request_router_config"):
            assert after.get(key) == before.get(key)


@given(documents(), rules())
def test_the_candidates_pool_idles_unless_it_has_a_candidate(
    document: dict[str, Any], content: dict[str, Any]
) -> None:
    pool = deployment(ruled(document, content), "CandidatePool")
    before = deployment(document, "CandidatePool")
    if content["kind"] in ("single", "canary_rolling"):
        assert pool["user_config"] == {"version": before["user_config"]["version"]}
        assert not set(SIZES) & pool.keys()
    else:
        candidate = content.get("candidate", content.get("treatment"))
        assert pool["user_config"]["version"] == candidate
        assert ("background" in pool["user_config"]) == (content["kind"] == "shadow")


@given(st.lists(rules(), max_size=4))
def test_after_any_rules_single_brings_back_what_was(contents: list[dict[str, Any]]) -> None:
    """But for the version that the idle pool holds: it stays warm."""
    document = BASE
    for content in contents:
        document = ruled(document, content)
    back = ruled(document, SINGLE)
    deployment(back, "CandidatePool")["user_config"] = {"version": "v2"}
    assert back == BASE


def test_a_candidates_pool_that_is_large_enough_keeps_its_size() -> None:
    document = deepcopy(BASE)
    deployment(document, "CandidatePool")["num_replicas"] = 3
    for content in (SHADOW, PARALLEL, AB):
        document = ruled(document, content)
        assert deployment(document, "CandidatePool")["num_replicas"] == 3


def test_a_candidates_pool_that_is_empty_gets_a_replica() -> None:
    pool = deployment(ruled(BASE, PARALLEL), "CandidatePool")
    assert pool["autoscaling_config"] == pool_scaling(min_replicas=1)


def test_a_patch_is_what_the_rule_says() -> None:
    pool = deployment(ruled(BASE, ROLLING | {"replicas": 2}), "StablePool")
    assert pool["user_config"] == {
        "version": "v1",
        "patch": {"version": "v2", "replicas": 2, "of": 4},
    }


@given(documents(), rules(), st.sampled_from(KNOWN))
def test_a_version_for_everybody_comes_from_any_rule(
    document: dict[str, Any], content: dict[str, Any], version: str
) -> None:
    document = ruled(document, content)
    single = with_version(document, version)
    updated = ruled(document, single)
    rule: Rule = config.check(updated, KNOWN)
    assert rule.versions == {"stable": version}
    assert deployment(updated, "StablePool")["user_config"] == {"version": version}
    kept = {"allow_pin", "trust_headers", "reveal_version"} & content.keys()
    assert single == {"kind": "single", "stable": version} | {key: content[key] for key in kept}


@given(documents())
def test_without_the_data_plane_only_the_control_plane_is_left(document: dict[str, Any]) -> None:
    before = deepcopy(document)
    left = without_data_plane(document)
    assert document == before
    assert [application["name"] for application in left["applications"]] == ["control"]
    assert left | {"applications": document["applications"]} == document


@pytest.mark.parametrize("name", ["Ingress", "StablePool", "CandidatePool"])
def test_a_deployment_is_a_part_of_its_document(name: str) -> None:
    document = deepcopy(BASE)
    deployment(document, name)["user_config"] = "changed"
    assert config.user_configs(document)[name] == "changed"
