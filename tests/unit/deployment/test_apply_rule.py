"""`with_rule` makes a valid deployment file from any valid deployment file and any valid rule."""

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
    single_rule,
    with_rule,
    without_data_plane,
)
from serve_app.deployment.pool_requirements import replica_bounds
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

version_pairs = st.permutations(KNOWN).map(lambda names: names[:2])
common_options = st.fixed_dictionaries(
    {}, optional={k: st.booleans() for k in ("allow_pin", "trust_headers", "reveal_version")}
)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """The content of a valid rule of any kind."""
    stable, other = draw(version_pairs)
    kind = draw(st.sampled_from([SINGLE, SHADOW, PARALLEL, ROLLING, AB]))
    content: dict[str, Any] = kind | draw(common_options)
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
deployment_options = st.fixed_dictionaries(
    {},
    optional={
        "ray_actor_options": st.just({"num_cpus": 1}),
        "max_ongoing_requests": st.integers(1, 100),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid deployment file, with any sizes and options."""
    document = deepcopy(BASE)
    document |= draw(st.sampled_from([{}, {"logging_config": {"log_level": "INFO"}}]))
    data_plane(document).update(
        draw(st.sampled_from([{}, {"args": {"backend": "onnx"}}, {"runtime_env": {"pip": []}}]))
    )
    for entry in data_plane(document)["deployments"]:
        entry.update(draw(sizes) | draw(deployment_options))
    data_plane(document)["deployments"] = draw(st.permutations(data_plane(document)["deployments"]))
    if draw(st.booleans()):
        document["applications"].reverse()
    return document


def pool_bounds(document: dict[str, Any], pool: str) -> tuple[int, int] | None:
    return replica_bounds(deployment(document, pool).get("autoscaling_config"))


def apply_rule(document: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    return with_rule(document, content, parse_rule(content, KNOWN))


def without_rule_keys(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of a file without the keys that a rule changes."""
    rest = deepcopy(document)
    for entry in data_plane(rest)["deployments"]:
        entry.pop("user_config")
        if entry["name"] != "Ingress":
            entry.pop("autoscaling_config", None)
    return rest


def without_bounds(scaling: dict[str, Any]) -> dict[str, Any]:
    """An autoscaling_config without the numbers of replicas."""
    return {key: value for key, value in scaling.items() if key not in BOUNDS}


def autoscaled_deployments(document: dict[str, Any]) -> list[str]:
    """The names of the deployments that have an autoscaling_config."""
    return [d["name"] for d in data_plane(document)["deployments"] if "autoscaling_config" in d]


def router_configs(document: dict[str, Any]) -> list[Any]:
    """The request_router_config of each deployment."""
    return [d.get("request_router_config") for d in data_plane(document)["deployments"]]


@settings(max_examples=80)
@given(documents(), st.lists(rules(), min_size=1, max_size=6))
def test_any_sequence_of_rules_gives_valid_files(
    document: dict[str, Any], contents: list[dict[str, Any]]
) -> None:
    assert config.check(document, KNOWN)
    for content in contents:
        before = deepcopy(document)
        changed = apply_rule(document, content)
        assert document == before, "the argument is not changed"
        assert config.check(changed, KNOWN).canonical() == parse_rule(content, KNOWN).canonical()
        assert deployment(changed, "Ingress")["user_config"] == {"rule": content}
        assert without_rule_keys(changed) == without_rule_keys(document)
        assert apply_rule(changed, content) == changed, "idempotent"
        document = changed


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
@settings(max_examples=20)
@given(contents=st.lists(rules(), min_size=1, max_size=6))
def test_any_sequence_of_rules_restarts_no_replicas_of_shipped_files(
    path: Path, contents: list[dict[str, Any]]
) -> None:
    """A new or removed autoscaling_config, or another router, would restart them."""
    start = document = config.read(path)
    for content in contents:
        changed = apply_rule(document, content)
        assert autoscaled_deployments(changed) == autoscaled_deployments(start)
        assert router_configs(changed) == router_configs(start)
        changes = config.differences(document, changed)
        assert [change.path for change in changes if change.restarts_replicas] == []
        document = changed


@given(documents(), st.lists(rules(), min_size=1, max_size=6))
def test_the_first_rule_adds_autoscaling_configs_and_later_rules_keep_them(
    document: dict[str, Any], contents: list[dict[str, Any]]
) -> None:
    before, routers = set(autoscaled_deployments(document)), router_configs(document)
    for content in contents:
        document = apply_rule(document, content)
        assert set(autoscaled_deployments(document)) == before | {"StablePool", "CandidatePool"}
        assert router_configs(document) == routers


@given(documents(), rules())
def test_only_a_rolling_canary_changes_the_size_of_the_stable_pool(
    document: dict[str, Any], content: dict[str, Any]
) -> None:
    before, after = (deployment(d, "StablePool") for d in (document, apply_rule(document, content)))
    old, new = before.get("autoscaling_config", pool_scaling(1)), after["autoscaling_config"]
    if content["kind"] == "canary_rolling":
        assert [new[bound] for bound in sorted(BOUNDS)] == [content["of"]] * 3
        assert without_bounds(new) == without_bounds(old)
    else:
        assert new == old


@given(documents(), st.lists(rules().filter(lambda rule: rule["kind"] != "canary_rolling")))
def test_the_stable_pool_keeps_its_size_after_a_rolling_canary(
    document: dict[str, Any], contents: list[dict[str, Any]]
) -> None:
    """A smaller pool would stop replicas that are under load."""
    document = apply_rule(document, ROLLING)
    frozen = deployment(document, "StablePool")["autoscaling_config"]
    for content in contents:
        document = apply_rule(document, content)
        pool = deployment(document, "StablePool")
        assert "patch" not in pool["user_config"]
        assert pool["autoscaling_config"] == frozen
    assert pool_bounds(document, "StablePool") == (ROLLING["of"], ROLLING["of"])


@given(documents(), rules())
def test_the_candidate_pool_is_empty_unless_it_has_a_candidate(
    document: dict[str, Any], content: dict[str, Any]
) -> None:
    changed = apply_rule(document, content)
    pool, before = (deployment(d, "CandidatePool") for d in (changed, document))
    least, most = pool_bounds(document, "CandidatePool") or (0, MAX_REPLICAS)
    if content["kind"] in ("single", "canary_rolling"):
        assert pool["user_config"] == {"version": before["user_config"]["version"]}
        least = 0
    else:
        candidate = content.get("candidate", content.get("treatment"))
        assert pool["user_config"]["version"] == candidate
        assert ("background" in pool["user_config"]) == (content["kind"] == "shadow")
        least = max(1, least)
    scaling = pool["autoscaling_config"]
    assert pool_bounds(changed, "CandidatePool") == (least, most)
    assert scaling.get("initial_replicas", least) == least
    assert without_bounds(scaling) == without_bounds(
        before.get("autoscaling_config", pool_scaling(0))
    )


@given(st.lists(rules(), max_size=4))
def test_single_restores_the_file_after_any_rules(contents: list[dict[str, Any]]) -> None:
    """Except for the version of the candidate pool and the size of a patched stable pool."""
    document = start = apply_rule(BASE, SINGLE)
    for content in contents:
        document = apply_rule(document, content)
    back = apply_rule(document, SINGLE)
    deployment(back, "CandidatePool")["user_config"] = {"version": "v2"}
    frozen = [content["of"] for content in contents if content["kind"] == "canary_rolling"]
    if frozen:
        assert pool_bounds(back, "StablePool") == (frozen[-1], frozen[-1])
        deployment(back, "StablePool")["autoscaling_config"] = pool_scaling(1)
    assert back == start


def test_the_candidate_pool_keeps_its_min_replicas_while_it_has_a_candidate() -> None:
    document = deepcopy(BASE)
    deployment(document, "CandidatePool")["autoscaling_config"] = pool_scaling(min_replicas=2)
    for content in (SHADOW, PARALLEL, AB):
        document = apply_rule(document, content)
        pool = deployment(document, "CandidatePool")
        assert pool["autoscaling_config"] == pool_scaling(min_replicas=2)


def test_an_empty_candidate_pool_has_one_replica_while_it_has_a_candidate() -> None:
    document = BASE
    for content, least in ((PARALLEL, 1), (SINGLE, 0), (AB, 1), (ROLLING, 0), (SHADOW, 1)):
        document = apply_rule(document, content)
        pool = deployment(document, "CandidatePool")
        assert pool["autoscaling_config"] == pool_scaling(min_replicas=least)


def test_a_mapping_that_deployments_share_is_not_changed() -> None:
    """A YAML alias gives several deployments the same mapping."""
    document, shared = deepcopy(BASE), pool_scaling(min_replicas=1)
    for entry in data_plane(document)["deployments"]:
        entry["autoscaling_config"] = shared
    changed = apply_rule(document, ROLLING)
    assert deployment(changed, "Ingress")["autoscaling_config"] == shared
    assert pool_bounds(changed, "StablePool") == (4, 4)
    assert pool_bounds(changed, "CandidatePool") == (0, MAX_REPLICAS)


def test_the_patch_has_the_replicas_of_the_rule() -> None:
    pool = deployment(apply_rule(BASE, ROLLING | {"replicas": 2}), "StablePool")
    assert pool["user_config"] == {
        "version": "v1",
        "patch": {"version": "v2", "replicas": 2, "of": 4},
    }


def test_a_rule_after_a_recreation_restores_rolling_updates() -> None:
    """`recreate.yaml` replaces all replicas at once; a rule after it must not."""
    document = config.read(next(path for path in FILES if path.stem == "recreate"))
    pool = deployment(with_rule(document, SINGLE, parse_rule(SINGLE, KNOWN)), "StablePool")
    assert not pool.keys() & {"rolling_update_percentage", "max_surge_percent"}
    deployment(document, "StablePool").update(rolling_update_percentage=0.5, max_surge_percent=50)
    pool = deployment(with_rule(document, SINGLE, parse_rule(SINGLE, KNOWN)), "StablePool")
    assert (pool["rolling_update_percentage"], pool["max_surge_percent"]) == (0.5, 50)


@given(documents(), rules(), st.sampled_from(KNOWN))
def test_single_rule_applies_after_any_rule(
    document: dict[str, Any], content: dict[str, Any], version: str
) -> None:
    document = apply_rule(document, content)
    single = single_rule(document, version)
    updated = apply_rule(document, single)
    rule: Rule = config.check(updated, KNOWN)
    assert rule.versions == {"stable": version}
    assert deployment(updated, "StablePool")["user_config"] == {"version": version}
    kept = {"allow_pin", "trust_headers", "reveal_version"} & content.keys()
    assert single == {"kind": "single", "stable": version} | {key: content[key] for key in kept}


@given(documents())
def test_without_data_plane_keeps_the_control_plane(document: dict[str, Any]) -> None:
    before = deepcopy(document)
    rest = without_data_plane(document)
    assert document == before
    assert [application["name"] for application in rest["applications"]] == ["control"]
    assert rest | {"applications": document["applications"]} == document


def test_a_missing_data_plane_is_rejected() -> None:
    """A recreation that failed after the teardown leaves such a configuration."""
    document = without_data_plane(BASE)
    message = "^applications have no 'animals': deploy a whole file first$"
    with pytest.raises(BadConfig, match=message):
        apply_rule(document, PARALLEL)
    with pytest.raises(BadConfig, match=message):
        single_rule(document, "v2")


def test_without_data_plane_keeps_other_applications() -> None:
    other = {"name": "notes", "route_prefix": "/notes", "import_path": "notes:app"}
    document = BASE | {"applications": [*BASE["applications"], other]}
    rest = without_data_plane(document)["applications"]
    assert [application["name"] for application in rest] == ["control", "notes"]


@pytest.mark.parametrize("listed", [None, [], [{"name": "Ingress"}]])
def test_missing_deployments_are_rejected(listed: Any) -> None:
    """`serve deploy` accepts such a file."""
    document = deepcopy(BASE)
    document["applications"][0]["deployments"] = listed
    message = (
        "^animals.Ingress.user_config is missing in the deployed configuration: deploy a whole"
    )
    with pytest.raises(BadConfig, match=message):
        apply_rule(document, PARALLEL)
    with pytest.raises(BadConfig, match=message):
        single_rule(document, "v2")


@pytest.mark.parametrize("name", ["Ingress", "StablePool", "CandidatePool"])
def test_deployment_returns_a_part_of_the_document(name: str) -> None:
    document = deepcopy(BASE)
    deployment(document, name)["user_config"] = "changed"
    assert config.user_configs(document)[name] == "changed"
