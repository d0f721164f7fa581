"""Serve behind the interface of the control plane, with a fake of Serve's client."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import serve
from ray.exceptions import RayActorError, RayTaskError

from serve_app.deployment import config
from serve_app.errors import BadConfig, NotReady

with warnings.catch_warnings():  # deprecated pydantic features in Serve's modules
    warnings.simplefilter("ignore")
    from serve_app.serving import serve_cluster
    from serve_app.serving.serve_cluster import ServeCluster

BASE = Path(__file__).parents[3] / "deploy_configs" / "base.yaml"

# `serve_app.deployment.scaling` explains why the field is set.
pytestmark = pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Serve's client; tests set its methods."""
    client = SimpleNamespace()
    monkeypatch.setattr(serve_cluster, "_client", lambda: client)
    monkeypatch.setattr(serve, "get_deployment_handle", lambda *_, **__: SimpleNamespace())
    return client


def details(document: dict[str, Any]) -> dict[str, Any]:
    """Serve's details of a deployed file."""
    replicas = [
        {"replica_id": "a", "state": "RUNNING", "pid": 7},
        {"replica_id": "b", "state": "X"},
    ]
    deployment = {
        "status": "HEALTHY", "message": "", "target_num_replicas": 2, "replicas": replicas,
    }  # fmt: skip
    return {
        "http_options": {"host": "127.0.0.1", "port": 8000, "root_path": ""},
        "applications": {
            application["name"]: {
                "status": "RUNNING",
                "message": "",
                "deployed_app_config": application | {"runtime_env": None},
                "deployments": {"Ingress": deployment},
            }
            for application in document["applications"]
        },
    }


@pytest.mark.parametrize("name", ["base", "canary_rolling", "shadow"])
def test_a_deployed_file_is_its_normal_form(client: Any, name: str) -> None:
    document = config.read(BASE.with_name(f"{name}.yaml"))
    client.get_serve_details = lambda: details(document)
    cluster = ServeCluster()
    state = asyncio.run(cluster.state())
    assert state.config["applications"] == cluster.normalize(document)["applications"]
    assert state.config["http_options"] == {"host": "127.0.0.1", "port": 8000}
    ingress = state.applications["animals"].deployments["Ingress"]
    assert (ingress.target, ingress.running, ingress.replicas[0].pid) == (2, 1, 7)


def test_an_application_without_a_configuration_is_left_out(client: Any) -> None:
    """Serve does not report the configuration of a new application at once."""
    found = details(config.read(BASE))
    found["applications"]["animals"]["deployed_app_config"] = None
    client.get_serve_details = lambda: found
    state = asyncio.run(ServeCluster().state())
    assert [a["name"] for a in state.config["applications"]] == ["control"]
    assert set(state.applications) == {"animals", "control"}


def test_a_configuration_is_deployed_without_waiting(client: Any) -> None:
    deployed = []
    client.deploy_apps = lambda parsed, _blocking: deployed.append((parsed, _blocking))
    asyncio.run(ServeCluster().deploy(config.read(BASE)))
    ((parsed, blocking),) = deployed
    assert [a.name for a in parsed.applications] == ["animals", "control"]
    assert blocking is False


def test_an_unreachable_controller_is_not_ready(client: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RayActorError

    client.get_serve_details = client.deploy_apps = fail
    cluster = ServeCluster()
    with pytest.raises(NotReady):
        asyncio.run(cluster.state())
    with pytest.raises(NotReady):
        asyncio.run(cluster.deploy(config.read(BASE)))


def test_a_configuration_that_serves_controller_rejects_is_rejected(client: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        error = ValueError("two route prefixes")
        raise RayTaskError("apply_config", "Traceback", error)  # type: ignore[no-untyped-call]

    client.deploy_apps = fail
    with pytest.raises(BadConfig, match="are rejected by Serve: two route prefixes"):
        asyncio.run(ServeCluster().deploy(config.read(BASE)))


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("pool", "max_surge_pct", 1, "animals.StablePool.max_surge_pct is not a key of"),
        ("pool", "autoscaling_config", {"min_replica": 1}, "autoscaling_config.min_replica is not"),
        (
            "pool",
            "autoscaling_config",
            {"min_replicas": 5, "max_replicas": 2},
            "animals.StablePool.autoscaling_config max_replicas (2) must be greater",
        ),
        ("animals", "runtime_envv", {}, "animals.runtime_envv is not a key of"),
        ("animals", "runtime_env", {"pipp": []}, "animals.runtime_env.pipp is not a key of"),
        (
            "animals",
            "args",
            {"bakend": "torch"},
            "animals.args.bakend is not a key here: did you mean backend?",
        ),
        (
            "animals",
            "args",
            {"backend": "jax"},
            "animals.args.backend is 'jax': expected 'onnx' or 'torch'",
        ),
        ("file", "http_options", {"prot": 8000}, "http_options.prot is not a key of"),
        ("another", "deployments", {"a": 1}, "another.deployments is a mapping: expected a list"),
        ("another", "deployments", "abc", "another.deployments is 'abc': expected a list"),
        ("another", "colour", "red", "another.colour is not a key of"),
        ("file", "colour", "red", "colour is not a key of"),
    ],
)
@pytest.mark.usefixtures("client")
def test_keys_that_serve_ignores_or_rejects_are_rejected(
    part: str, key: str, value: Any, message: str
) -> None:
    document = config.read(BASE)
    animals = document["applications"][0]
    (pool,) = [d for d in animals["deployments"] if d["name"] == "StablePool"]
    another = {"name": "another", "route_prefix": "/another", "import_path": "x:another"}
    if part == "another":
        document["applications"].append(another)
    {"pool": pool, "animals": animals, "file": document, "another": another}[part][key] = value
    with pytest.raises(BadConfig) as caught:
        ServeCluster().normalize(document)
    assert message in str(caught.value)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_ongoing_requests", 10**12),
        ("autoscaling_config", {"max_replicas": 10**12}),
        ("autoscaling_config", {"min_replicas": 2**32, "max_replicas": 2**32}),
    ],
)
def test_a_deployment_that_serves_controller_cannot_store_is_rejected(key: str, value: Any) -> None:
    """It would try again for ever, and start no replica."""
    document = config.read(BASE)
    animals = document["applications"][0]
    index = [d["name"] for d in animals["deployments"]].index("StablePool")
    animals["deployments"][index] |= {key: value}
    with pytest.raises(BadConfig, match=r"^animals\.StablePool cannot be stored by Serve: "):
        ServeCluster().normalize(document)


@pytest.mark.usefixtures("client")
def test_all_faults_are_named_with_the_names_of_the_deployments() -> None:
    document = config.read(BASE)
    animals, control = document["applications"]
    animals["deployments"][0] |= {"max_ongoing_request": 5, "health_check_period_s": "soon"}
    animals["args"] = {"backend": "jax"}
    control["deployments"] = [{"name": "ControlApi", "num_replicas": 0}]
    with pytest.raises(BadConfig) as caught:
        ServeCluster().normalize(document)
    first = animals["deployments"][0]["name"]
    unknown, *others = [str(finding) for finding in caught.value.findings]
    assert unknown.startswith(f"animals.{first}.max_ongoing_request is not a key of a Ray Serve")
    assert unknown.endswith("; did you mean max_ongoing_requests?")
    assert others == [
        f"animals.{first}.health_check_period_s is 'soon': expected a number",
        "control.ControlApi.num_replicas is 0: expected more than 0",
        "animals.args.backend is 'jax': expected 'onnx' or 'torch'",
    ]
