"""From any good deployment file, any good rule makes a good deployment file."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.deployment import config
from serve_app.deployment.apply_rule import (
    data_plane,
    deployment,
    with_rule,
    with_version,
    without_data_plane,
)
from serve_app.deployment.pool_requirements import bounds
from serve_app.deployment.scaling import MAX_REPLICAS, pool_scaling
from serve_app.errors import BadConfig
from serve_app.rules.parse import parse_rule
from serve_app.rules.rule import Rule
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
BOUNDS = {"min_replicas", "initial_replicas", "max_replicas"}
FILES = sorted((Path(__file__).parents[3] / "deploy_configs").glob("*.yaml"))

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


scalings: st.SearchStrategy[dict[str, Any]] = st.integers(1, 8).flatmap(
    lambda most: st.fixed_dictionaries(
        {"max_replicas": st.just(most), "min_replicas": st.integers(0, most)},
        optional={"upscale_delay_s": st.integers(1, 9)},
    )
)
sizes: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.just({"max_replicas": 5}),
    st.just({"target_ongoing_requests": 7}),
    scalings,
).map(lambda scaling: {"autoscaling_config": scaling} if scaling else {})
others = st.fixed_dictionaries(
    {},
    optional={
        "ray_actor_options": st.just({"num_cpus": 1}),
        "max_ongoing_requests": st.integers(1, 100),
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
        each.pop("user_config")
        if each["name"] != "Ingress":
            each.pop("autoscaling_config", None)
    return rest


def pace(scaling: dict[str, Any]) -> dict[str, Any]:
    """What of an autoscaling_config is not how many replicas there are."""
    return {key: value for key, value in scaling.items() if key not in BOUNDS}


def scaled(document: dict[str, Any]) -> list[str]:
    """The deployments that have an autoscaling_config."""
    return [d["name"] for d in data_plane(document)["deployments"] if "autoscaling_config" in d]


def routed(document: dict[str, Any]) -> list[Any]:
    """The request_router_config of each deployment."""
    return [d.get("request_router_config") for d in data_plane(document)["deployments"]]


@settings(max_examples=80)
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


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
@settings(max_examples=20)
@given(contents=st.lists(rules(), min_size=1, max_size=6))
def test_whatever_rules_follow_one_another_no_replica_of_ours_is_replaced(
    path: Path, contents: list[dict[str, Any]]
) -> None:
    """Serve would replace all of them for one scaling more, one less, or another routing."""
    start = document = config.read(path)
    for content in contents:
        changed = ruled(document, content)
        assert scaled(changed) == scaled(start)
        assert routed(changed) == routed(start)
        changes = config.differences(document, changed)
        assert [change.path for change in changes if change.restarts] == []
        document = changed


@given(documents(), st.lists(rules(), min_size=1, max_size=6))
def test_from_any_file_the_pools_get_a_scaling_with_the_first_rule_and_keep_it(
    document: dict[str, Any], contents: list[dict[str, Any]]
) -> None:
    had, routing = set(scaled(document)), routed(document)
    for content in contents:
        document = ruled(document, content)
        assert set(scaled(document)) == had | {"StablePool", "CandidatePool"}
        assert routed(document) == routing


@given(documents(), rules())
def test_the_stable_pool_keeps_its_size_unless_its_replicas_are_patched(
    document: dict[str, Any], content: dict[str, Any]
) -> None:
    before, after = (deployment(d, "StablePool") for d in (document, ruled(document, content)))
    had, has = before.get("autoscaling_config", pool_scaling(1)), after["autoscaling_config"]
    if content["kind"] == "canary_rolling":
        assert [has[bound] for bound in sorted(BOUNDS)] == [content["of"]] * 3
        assert pace(has) == pace(had)
    else:
        assert has == had


@given(documents(), st.lists(rules().filter(lambda rule: rule["kind"] != "canary_rolling")))
def test_a_stable_pool_that_was_frozen_keeps_its_size_afterwards(
    document: dict[str, Any], contents: list[dict[str, Any]]
) -> None:
    """Serve would end replicas under the load that they bear."""
    document = ruled(document, ROLLING)
    frozen = deployment(document, "StablePool")["autoscaling_config"]
    for content in contents:
        document = ruled(document, content)
        pool = deployment(document, "StablePool")
        assert "patch" not in pool["user_config"]
        assert pool["autoscaling_config"] == frozen
    assert bounds(deployment(document, "StablePool")) == (ROLLING["of"], ROLLING["of"])


@given(documents(), rules())
def test_the_candidates_pool_idles_unless_it_has_a_candidate(
    document: dict[str, Any], content: dict[str, Any]
) -> None:
    pool = deployment(ruled(document, content), "CandidatePool")
    before = deployment(document, "CandidatePool")
    least, most = bounds(before) or (0, MAX_REPLICAS)
    if content["kind"] in ("single", "canary_rolling"):
        assert pool["user_config"] == {"version": before["user_config"]["version"]}
        least = 0
    else:
        candidate = content.get("candidate", content.get("treatment"))
        assert pool["user_config"]["version"] == candidate
        assert ("background" in pool["user_config"]) == (content["kind"] == "shadow")
        least = max(1, least)
    scaling = pool["autoscaling_config"]
    assert bounds(pool) == (least, most)
    assert scaling["initial_replicas"] == least
    assert pace(scaling) == pace(before.get("autoscaling_config", pool_scaling(0)))


@given(st.lists(rules(), max_size=4))
def test_after_any_rules_single_brings_back_what_was(contents: list[dict[str, Any]]) -> None:
    """But for the version that the idle pool holds, which stays warm, and what was frozen."""
    document = start = ruled(BASE, SINGLE)
    for content in contents:
        document = ruled(document, content)
    back = ruled(document, SINGLE)
    deployment(back, "CandidatePool")["user_config"] = {"version": "v2"}
    frozen = [content["of"] for content in contents if content["kind"] == "canary_rolling"]
    if frozen:
        assert bounds(deployment(back, "StablePool")) == (frozen[-1], frozen[-1])
        deployment(back, "StablePool")["autoscaling_config"] = pool_scaling(1)
    assert back == start


def test_a_candidates_pool_keeps_its_least_while_it_has_a_candidate() -> None:
    document = deepcopy(BASE)
    deployment(document, "CandidatePool")["autoscaling_config"] = pool_scaling(min_replicas=2)
    for content in (SHADOW, PARALLEL, AB):
        document = ruled(document, content)
        pool = deployment(document, "CandidatePool")
        assert pool["autoscaling_config"] == pool_scaling(min_replicas=2)


def test_a_candidates_pool_that_is_empty_gets_a_replica_and_gives_it_back() -> None:
    document = BASE
    for content, least in ((PARALLEL, 1), (SINGLE, 0), (AB, 1), (ROLLING, 0), (SHADOW, 1)):
        document = ruled(document, content)
        pool = deployment(document, "CandidatePool")
        assert pool["autoscaling_config"] == pool_scaling(min_replicas=least)


def test_what_two_deployments_share_by_an_alias_changes_for_the_pool_alone() -> None:
    """YAML gives both the same mapping."""
    document, shared = deepcopy(BASE), pool_scaling(min_replicas=1)
    for each in data_plane(document)["deployments"]:
        each["autoscaling_config"] = shared
    changed = ruled(document, ROLLING)
    assert deployment(changed, "Ingress")["autoscaling_config"] == shared
    assert bounds(deployment(changed, "StablePool")) == (4, 4)
    assert bounds(deployment(changed, "CandidatePool")) == (0, MAX_REPLICAS)


def test_a_patch_is_what_the_rule_says() -> None:
    pool = deployment(ruled(BASE, ROLLING | {"replicas": 2}), "StablePool")
    assert pool["user_config"] == {
        "version": "v1",
        "patch": {"version": "v2", "replicas": 2, "of": 4},
    }


def test_after_a_recreation_replicas_are_rolled_again() -> None:
    """What a file says of replacing all at once is about that file's own deployment."""
    document = config.read(next(path for path in FILES if path.stem == "recreate"))
    pool = deployment(with_rule(document, SINGLE, parse_rule(SINGLE, KNOWN)), "StablePool")
    assert not pool.keys() & {"rolling_update_percentage", "max_surge_percent"}
    deployment(document, "StablePool").update(rolling_update_percentage=0.5, max_surge_percent=50)
    pool = deployment(with_rule(document, SINGLE, parse_rule(SINGLE, KNOWN)), "StablePool")
    assert (pool["rolling_update_percentage"], pool["max_surge_percent"]) == (0.5, 50)


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


def test_a_data_plane_that_is_not_there_takes_no_rule_and_no_version() -> None:
    """As after `serve-app update --method recreate` that failed between its two halves."""
    document = without_data_plane(BASE)
    with pytest.raises(BadConfig, match=r"^applications have no 'animals': deploy one$"):
        ruled(document, PARALLEL)
    with pytest.raises(BadConfig, match=r"^applications have no 'animals': deploy one$"):
        with_version(document, "v2")


def test_applications_of_others_stay_while_the_data_plane_is_away() -> None:
    other = {"name": "notes", "route_prefix": "/notes", "import_path": "notes:app"}
    document = BASE | {"applications": [*BASE["applications"], other]}
    left = without_data_plane(document)["applications"]
    assert [application["name"] for application in left] == ["control", "notes"]


@pytest.mark.parametrize("listed", [None, [], [{"name": "Ingress"}]])
def test_a_file_that_leaves_it_to_the_code_takes_no_rule_and_no_version(listed: Any) -> None:
    """Ray's own command deploys such a file."""
    document = deepcopy(BASE)
    document["applications"][0]["deployments"] = listed
    said = "^animals.Ingress.user_config is not in what was deployed: deploy a whole file first$"
    with pytest.raises(BadConfig, match=said):
        ruled(document, PARALLEL)
    with pytest.raises(BadConfig, match=said):
        with_version(document, "v2")


@pytest.mark.parametrize("name", ["Ingress", "StablePool", "CandidatePool"])
def test_a_deployment_is_a_part_of_its_document(name: str) -> None:
    document = deepcopy(BASE)
    deployment(document, name)["user_config"] = "changed"
    assert config.user_configs(document)[name] == "changed"
