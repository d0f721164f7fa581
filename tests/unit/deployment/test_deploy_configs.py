"""The shipped deployment files."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from models import registry
from serve_app.deployment import config
from serve_app.deployment.apply_rule import data_plane, deployment, with_rule
from serve_app.deployment.scaling import pool_scaling
from serve_app.lifecycle.configuration import BASE

with warnings.catch_warnings():  # deprecated pydantic features in Serve's modules
    warnings.simplefilter("ignore")
    from ray.serve._private.deploy_utils import get_app_code_version
    from ray.serve.schema import ServeDeploySchema

RULE_FILES = ("ab_test", "canary_parallel", "canary_rolling", "shadow")
FILES = sorted((Path(__file__).parents[3] / "deploy_configs").glob("*.yaml"))


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def path(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def document(path: Path) -> dict[str, Any]:
    return config.read(path)


def test_base_is_a_shipped_file() -> None:
    assert BASE.resolve() in FILES


def test_each_file_passes_the_check(document: dict[str, Any]) -> None:
    config.check(document, registry.names())


def test_each_file_has_both_applications_with_their_routes(document: dict[str, Any]) -> None:
    routes = {app["name"]: app["route_prefix"] for app in document["applications"]}
    assert routes == {"animals": "/", "control": "/control"}


def test_each_file_sets_the_user_config_of_every_deployment(document: dict[str, Any]) -> None:
    """Serve resets what a file leaves out."""
    configs = config.user_configs(document)
    assert {name for name, user_config in configs.items() if user_config} == {
        "Ingress",
        "StablePool",
        "CandidatePool",
    }


def test_each_header_says_how_to_deploy_watch_and_end(path: Path) -> None:
    header = re.match(r"(#.*\n)+", path.read_text())
    assert header
    _, _, instructions = header[0].partition("#\n")
    labels = re.findall(r"^# (\w+): ", instructions, re.MULTILINE)
    assert labels == ["Needs", "Deploy", "Watch", "End"]
    assert f"deploy_configs/{path.name}" in header[0]


def test_all_files_have_the_same_control_plane(document: dict[str, Any]) -> None:
    """A change from one file to another must not restart it."""

    def control(document: dict[str, Any]) -> Any:
        return next(app for app in document["applications"] if app["name"] == "control")

    assert control(document) == control(config.read(FILES[0]))
    assert document["http_options"] == config.read(FILES[0])["http_options"]


# `serve_app.deployment.scaling` explains why the field is set.
@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
def test_all_files_have_the_same_code_version(document: dict[str, Any]) -> None:
    """Serve replaces all replicas when it changes. Only `recreate.yaml` changes the environment."""

    def code(document: dict[str, Any]) -> str:
        animals = ServeDeploySchema.model_validate(document).applications[0]
        assert animals.name == "animals"
        return str(get_app_code_version(animals.model_copy(update={"runtime_env": {}})))

    assert code(document) == code(config.read(BASE))


def test_only_the_pools_have_an_autoscaling_config_and_none_has_a_router(
    document: dict[str, Any],
) -> None:
    """Both are part of the code version."""
    deployments = data_plane(document)["deployments"]
    assert [d["name"] for d in deployments] == ["Ingress", "StablePool", "CandidatePool"]
    assert [d["name"] for d in deployments if "autoscaling_config" in d] == [
        "StablePool",
        "CandidatePool",
    ]
    assert not any("request_router_config" in d for d in deployments)


def test_the_candidate_pool_has_the_default_scaling(document: dict[str, Any]) -> None:
    scaling = deployment(document, "CandidatePool")["autoscaling_config"]
    assert scaling == pool_scaling(scaling["min_replicas"])


@pytest.mark.parametrize("name", RULE_FILES)
def test_with_rule_on_base_gives_the_file(name: str) -> None:
    """`serve-app rule set` and `serve-app deploy` have the same result."""
    base, document = config.read(BASE), config.read(BASE.parent / f"{name}.yaml")
    rule = config.check(document, registry.names())
    assert rule.kind == name
    content = deployment(document, "Ingress")["user_config"]["rule"]
    assert with_rule(base, content, rule) == document


@pytest.mark.parametrize("name", RULE_FILES)
def test_a_change_between_files_restarts_no_replicas(name: str) -> None:
    document = config.read(BASE.parent / f"{name}.yaml")
    for other in ("base", "rolling", *RULE_FILES):
        changes = config.differences(config.read(BASE.parent / f"{other}.yaml"), document)
        assert [change.path for change in changes if change.restarts_replicas] == []


def test_each_file_has_its_own_experiment_name() -> None:
    """The second of two rules with the same name would be rejected."""
    names = [
        rule.experiment_terms.name
        for rule in (config.check(config.read(path), registry.names()) for path in FILES)
        if rule.experiment_terms
    ]
    assert len(names) == len(set(names)) == len(RULE_FILES)
