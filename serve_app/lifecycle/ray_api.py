"""The state of Serve's applications, from the REST API of Ray's dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from serve_app.errors import StartFailed
from serve_app.lifecycle import ray_token
from serve_app.lifecycle.ports import DASHBOARD_PORT

DASHBOARD_URL = f"http://127.0.0.1:{DASHBOARD_PORT}"
TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Deployment:
    name: str
    running: int  # replicas
    target: int  # replicas
    message: str

    def __str__(self) -> str:
        return self.name if self.target == 1 else f"{self.name} ({self.running} of {self.target})"


@dataclass(frozen=True)
class Application:
    """A Serve application; `status` is Serve's, such as RUNNING."""

    name: str
    status: str
    message: str
    deployments: tuple[Deployment, ...]

    @property
    def messages(self) -> str:
        """The messages of the application and of its deployments."""
        messages = [self.message, *(part.message for part in self.deployments)]
        return "\n".join(message.strip() for message in messages if message.strip())


def get_applications(client: httpx.Client) -> tuple[Application, ...] | None:
    """The applications of Serve; None while the dashboard does not respond.

    Raises:
        StartFailed: The dashboard rejects the token.
    """
    token = ray_token.read_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        response = client.get(
            f"{DASHBOARD_URL}/api/serve/applications/", headers=headers, timeout=TIMEOUT_S
        )
    except httpx.TransportError:
        return None
    if response.status_code in (401, 403):
        raise StartFailed(
            f"the Ray dashboard rejects the token of {ray_token.token_path()}: {response.text}"
        )
    return parse_applications(response.json()) if response.is_success else None


def parse_applications(details: dict[str, Any]) -> tuple[Application, ...]:
    """The applications in a response of `GET /api/serve/applications/`."""
    return tuple(
        Application(
            name=name,
            status=application["status"],
            message=application["message"],
            deployments=tuple(
                Deployment(
                    name=deployment["name"],
                    running=sum(r["state"] == "RUNNING" for r in deployment["replicas"]),
                    target=deployment["target_num_replicas"],
                    message=deployment["message"],
                )
                for deployment in application["deployments"].values()
            ),
        )
        for name, application in details["applications"].items()
    )
