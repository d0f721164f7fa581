"""Serve's answer about its applications."""

from __future__ import annotations

import httpx
import pytest

from serve_app.errors import StartFailed
from serve_app.lifecycle.ray_api import applications, parse

DETAILS = {
    "applications": {
        "animals": {
            "status": "DEPLOYING",
            "message": "",
            "deployments": {
                "Ingress": {
                    "name": "Ingress",
                    "message": "",
                    "target_num_replicas": 2,
                    "replicas": [{"state": "RUNNING"}, {"state": "STARTING"}],
                },
                "CandidatePool": {
                    "name": "CandidatePool",
                    "message": "",
                    "target_num_replicas": 0,
                    "replicas": [],
                },
            },
        },
        "control": {
            "status": "DEPLOY_FAILED",
            "message": "The deployments ['ControlApi'] are UNHEALTHY.\n",
            "deployments": {
                "ControlApi": {
                    "name": "ControlApi",
                    "message": "ValueError: no token",
                    "target_num_replicas": 1,
                    "replicas": [],
                }
            },
        },
        "late": {"status": "NOT_STARTED", "message": "", "deployments": {}},
    }
}


def test_the_state_counts_the_replicas_that_run() -> None:
    assert [str(application) for application in parse(DETAILS)] == [
        "animals (Ingress 1 of 2, CandidatePool 0 of 0)",
        "control (ControlApi 0 of 1)",
        "late (not started)",
    ]


def test_a_complaint_is_all_that_serve_says() -> None:
    _, control, _ = parse(DETAILS)
    assert (
        control.complaint == "The deployments ['ControlApi'] are UNHEALTHY.\nValueError: no token"
    )


def asked(answer: httpx.Response | Exception) -> object:
    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with httpx.Client(transport=httpx.MockTransport(handle)) as client:
        return applications(client)


@pytest.mark.parametrize("answer", [httpx.ConnectError("rejected"), httpx.Response(503)])
def test_a_dashboard_that_is_not_up_yet_knows_nothing(answer: httpx.Response | Exception) -> None:
    assert asked(answer) is None


def test_a_rejected_token_ends_the_start() -> None:
    with pytest.raises(StartFailed, match=r"rejects the token of .*auth_token: Forbidden"):
        asked(httpx.Response(403, text="Forbidden"))
