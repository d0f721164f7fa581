"""Parsing the state of Serve's applications."""

from __future__ import annotations

import httpx
import pytest

from serve_app.errors import StartFailed
from serve_app.lifecycle.ray_api import get_applications, parse_applications

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


def test_messages_include_those_of_the_deployments() -> None:
    _, control, _ = parse_applications(DETAILS)
    assert control.messages == "The deployments ['ControlApi'] are UNHEALTHY.\nValueError: no token"


def request_applications(response: httpx.Response | Exception) -> object:
    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(response, Exception):
            raise response
        return response

    with httpx.Client(transport=httpx.MockTransport(handle)) as client:
        return get_applications(client)


@pytest.mark.parametrize("response", [httpx.ConnectError("rejected"), httpx.Response(503)])
def test_an_unavailable_dashboard_gives_none(response: httpx.Response | Exception) -> None:
    assert request_applications(response) is None


def test_a_rejected_token_fails_the_start() -> None:
    with pytest.raises(StartFailed, match=r"rejects the token of .*auth_token: Forbidden"):
        request_applications(httpx.Response(403, text="Forbidden"))
