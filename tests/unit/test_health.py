from __future__ import annotations

from typing import Any

import pytest

from serve_app.health import rejections, troubles


def application(status: str = "RUNNING", message: str = "", **deployments: Any) -> dict[str, Any]:
    return {"status": status, "message": message, "deployments": deployments}


def deployment(status: str, message: str = "") -> dict[str, Any]:
    return {"status": status, "message": message, "target": 1, "replicas": []}


def rule(
    rejected: dict[str, str] | None = None, *replicas: dict[str, str] | None
) -> dict[str, Any]:
    return {
        "rejected": rejected,
        "pools": [
            {"pool": "StablePool", "replicas": [{"rejected": rejection} for rejection in replicas]}
        ],
    }


def status(**applications: Any) -> dict[str, Any]:
    return {"applications": applications}


HEALTHY = status(animals=application(Ingress=deployment("HEALTHY")), control=application())
REJECTION = {"path": "version", "message": "is v9: the registry has v1, v2"}


def test_a_healthy_service_has_no_troubles() -> None:
    assert troubles(HEALTHY, rule(None, None)) == []


@pytest.mark.parametrize("scaling", ["UPSCALING", "DOWNSCALING"])
def test_a_scaling_pool_is_healthy(scaling: str) -> None:
    assert troubles(status(animals=application(StablePool=deployment(scaling))), rule()) == []


def test_an_application_that_is_not_running_has_the_last_line_of_its_message() -> None:
    broken = status(animals=application("DEPLOY_FAILED", "Traceback:\n  ...\nNo such module\n"))
    assert troubles(broken, rule()) == [
        "application animals is DEPLOY_FAILED: No such module",
    ]


@pytest.mark.parametrize("state", ["UNHEALTHY", "UPDATING", "DEPLOY_FAILED"])
def test_an_unhealthy_deployment_is_a_trouble(state: str) -> None:
    unhealthy = status(animals=application(Ingress=deployment(state)))
    assert troubles(unhealthy, rule()) == [f"deployment Ingress is {state}"]


def test_a_rejected_rule_is_a_trouble_with_its_path() -> None:
    rejected = {"path": "rule.stable", "message": "is v9: the registry has v1, v2"}
    assert troubles(HEALTHY, rule(rejected)) == [
        "a rule was rejected: rule.stable is v9: the registry has v1, v2"
    ]


def test_equal_rejections_of_several_replicas_are_one_trouble() -> None:
    assert troubles(HEALTHY, rule(None, REJECTION, None, REJECTION)) == [
        "StablePool rejected its configuration: version is v9: the registry has v1, v2"
    ]


def test_rejections_are_those_of_the_ingress_and_the_pools() -> None:
    assert rejections(rule(None, None)) == []
    assert rejections(rule(REJECTION, REJECTION)) == [
        "a rule was rejected: version is v9: the registry has v1, v2",
        "StablePool rejected its configuration: version is v9: the registry has v1, v2",
    ]


def test_troubles_without_a_rule_are_those_of_the_applications() -> None:
    assert troubles(HEALTHY, None) == []
    assert troubles(status(animals=application("DELETING")), None) == [
        "application animals is DELETING"
    ]


def test_all_troubles_are_listed() -> None:
    unhealthy = status(
        animals=application("UNHEALTHY", Ingress=deployment("UNHEALTHY", "no replica")),
        control=application("DEPLOYING"),
    )
    assert len(troubles(unhealthy, rule(REJECTION, REJECTION))) == 5
