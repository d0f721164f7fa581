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


WELL = status(animals=application(Ingress=deployment("HEALTHY")), control=application())
REFUSAL = {"path": "version", "message": "is v9: the registry has v1, v2"}


def test_a_healthy_service_has_no_troubles() -> None:
    assert troubles(WELL, rule(None, None)) == []


@pytest.mark.parametrize("scaling", ["UPSCALING", "DOWNSCALING"])
def test_a_pool_that_scales_is_well(scaling: str) -> None:
    assert troubles(status(animals=application(StablePool=deployment(scaling))), rule()) == []


def test_an_application_that_does_not_run_is_named_with_its_last_words() -> None:
    broken = status(animals=application("DEPLOY_FAILED", "Traceback:\n  ...\nNo such module\n"))
    assert troubles(broken, rule()) == [
        "application animals is DEPLOY_FAILED: No such module",
    ]


@pytest.mark.parametrize("state", ["UNHEALTHY", "UPDATING", "DEPLOY_FAILED"])
def test_a_deployment_that_is_not_well_is_named(state: str) -> None:
    ill = status(animals=application(Ingress=deployment(state)))
    assert troubles(ill, rule()) == [f"deployment Ingress is {state}"]


def test_a_rejected_rule_is_told_with_its_path() -> None:
    rejected = {"path": "rule.stable", "message": "is v9: the registry has v1, v2"}
    assert troubles(WELL, rule(rejected)) == [
        "a rule was rejected: rule.stable is v9: the registry has v1, v2"
    ]


def test_what_several_replicas_reject_is_told_once() -> None:
    assert troubles(WELL, rule(None, REFUSAL, None, REFUSAL)) == [
        "StablePool rejected its configuration: version is v9: the registry has v1, v2"
    ]


def test_what_was_rejected_can_be_told_alone() -> None:
    assert rejections(rule(None, None)) == []
    assert rejections(rule(REFUSAL, REFUSAL)) == [
        "a rule was rejected: version is v9: the registry has v1, v2",
        "StablePool rejected its configuration: version is v9: the registry has v1, v2",
    ]


def test_the_applications_are_told_of_where_no_rule_answers() -> None:
    assert troubles(WELL, None) == []
    assert troubles(status(animals=application("DELETING")), None) == [
        "application animals is DELETING"
    ]


def test_every_trouble_is_told() -> None:
    ill = status(
        animals=application("UNHEALTHY", Ingress=deployment("UNHEALTHY", "no replica")),
        control=application("DEPLOYING"),
    )
    assert len(troubles(ill, rule(REFUSAL, REFUSAL))) == 5
