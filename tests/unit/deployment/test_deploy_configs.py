"""The deployment files that the repository ships."""

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
from serve_app.lifecycle.up import BASE

with warnings.catch_warnings():  # Serve's modules use what pydantic will take away
    warnings.simplefilter("ignore")
    from ray.serve._private.deploy_utils import get_app_code_version
    from ray.serve.schema import ServeDeploySchema

TRIALS = ("ab_test", "canary_parallel", "canary_rolling", "shadow")
FILES = sorted((Path(__file__).parents[3] / "deploy_configs").glob("*.yaml"))


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def path(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def document(path: Path) -> dict[str, Any]:
    return config.read(path)


def test_the_file_that_a_start_deploys_is_among_them() -> None:
    assert BASE.resolve() in FILES


def test_it_passes_the_check_that_a_deployment_passes(document: dict[str, Any]) -> None:
    config.check(document, registry.names())


def test_it_has_both_applications_where_they_belong(document: dict[str, Any]) -> None:
    routes = {app["name"]: app["route_prefix"] for app in document["applications"]}
    assert routes == {"animals": "/", "control": "/control"}


def test_it_gives_a_rule_and_each_pool_its_version(document: dict[str, Any]) -> None:
    """What Serve is not told it forgets: a file without them would deploy nothing."""
    configs = config.user_configs(document)
    assert {name for name, user_config in configs.items() if user_config} == {
        "Ingress",
        "StablePool",
        "CandidatePool",
    }


def test_it_opens_with_what_it_shows_how_to_run_it_and_how_to_watch_it(path: Path) -> None:
    head = re.match(r"(#.*\n)+", path.read_text())
    assert head
    assert "Run:" in head[0]
    assert "Watch:" in head[0]
    assert path.name in head[0] or "deploy FILE" in head[0]


def test_the_control_plane_is_the_same_in_all(document: dict[str, Any]) -> None:
    """So that going from one to another never touches it."""

    def control(document: dict[str, Any]) -> Any:
        return next(app for app in document["applications"] if app["name"] == "control")

    assert control(document) == control(config.read(FILES[0]))
    assert document["http_options"] == config.read(FILES[0])["http_options"]


# See `serve_app.deployment.scaling`: Serve 2.60 reads nothing else.
@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
def test_the_data_planes_code_is_the_same_in_all(document: dict[str, Any]) -> None:
    """To Serve: else it would replace all replicas. `recreate.yaml` is there to do that."""

    def code(document: dict[str, Any]) -> str:
        animals = ServeDeploySchema.model_validate(document).applications[0]
        assert animals.name == "animals"
        return str(get_app_code_version(animals.model_copy(update={"runtime_env": {}})))

    assert code(document) == code(config.read(BASE))


def test_the_pools_scale_and_only_the_code_routes(document: dict[str, Any]) -> None:
    """What Serve counts and hashes into the code's version; a rule leaves it as it is."""
    deployments = data_plane(document)["deployments"]
    assert [d["name"] for d in deployments] == ["Ingress", "StablePool", "CandidatePool"]
    assert [d["name"] for d in deployments if "autoscaling_config" in d] == [
        "StablePool",
        "CandidatePool",
    ]
    assert not any("request_router_config" in d for d in deployments)


def test_the_candidates_pool_scales_as_in_the_code(document: dict[str, Any]) -> None:
    scaling = deployment(document, "CandidatePool")["autoscaling_config"]
    assert scaling == pool_scaling(scaling["min_replicas"])


@pytest.mark.parametrize("name", TRIALS)
def test_a_file_is_what_its_rule_makes_of_the_base(name: str) -> None:
    """So `serve-app rule set` and `serve-app deploy` do the same."""
    base, document = config.read(BASE), config.read(BASE.parent / f"{name}.yaml")
    rule = config.check(document, registry.names())
    assert rule.kind == name
    content = deployment(document, "Ingress")["user_config"]["rule"]
    assert with_rule(base, content, rule) == document


@pytest.mark.parametrize("name", TRIALS)
def test_no_file_of_a_rule_takes_new_replicas(name: str) -> None:
    """From any to any it is an update in place."""
    document = config.read(BASE.parent / f"{name}.yaml")
    for other in ("base", "rolling", *TRIALS):
        changes = config.differences(config.read(BASE.parent / f"{other}.yaml"), document)
        assert [change.path for change in changes if change.restarts] == []


def test_no_two_files_share_an_experiment() -> None:
    """Under one name, two kinds of rule would be rejected one after the other."""
    names = [
        rule.experiment_terms.name
        for rule in (config.check(config.read(path), registry.names()) for path in FILES)
        if rule.experiment_terms
    ]
    assert len(names) == len(set(names)) == 3
