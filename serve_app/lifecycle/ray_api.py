"""How far Serve is, from the REST API of Ray's dashboard."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from serve_app.errors import StartFailed
from serve_app.lifecycle.ports import DASHBOARD_PORT

DASHBOARD_URL = f"http://127.0.0.1:{DASHBOARD_PORT}"
TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Deployment:
    name: str
    running: int  # replicas
    wanted: int
    message: str


@dataclass(frozen=True)
class Application:
    """An application as Serve sees it; `status` is Serve's word, such as RUNNING."""

    name: str
    status: str
    message: str
    deployments: tuple[Deployment, ...]

    def __str__(self) -> str:
        parts = [f"{part.name} {part.running} of {part.wanted}" for part in self.deployments]
        return f"{self.name} ({', '.join(parts) or self.status.lower().replace('_', ' ')})"

    @property
    def complaint(self) -> str:
        """All that Serve says about it."""
        messages = [self.message, *(part.message for part in self.deployments)]
        return "\n".join(message.strip() for message in messages if message.strip())


def applications(client: httpx.Client) -> tuple[Application, ...] | None:
    """The applications that Serve knows; None while nothing answers.

    Raises:
        StartFailed: The dashboard rejects the token.
    """
    token = _token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = client.get(
            f"{DASHBOARD_URL}/api/serve/applications/", headers=headers, timeout=TIMEOUT_S
        )
    except httpx.TransportError:
        return None
    if answer.status_code in (401, 403):
        raise StartFailed(f"the Ray dashboard rejects the token of {token_path()}: {answer.text}")
    return parse(answer.json()) if answer.is_success else None


def parse(details: dict[str, Any]) -> tuple[Application, ...]:
    """The applications in an answer of `GET /api/serve/applications/`."""
    return tuple(
        Application(
            name=name,
            status=application["status"],
            message=application["message"],
            deployments=tuple(
                Deployment(
                    name=deployment["name"],
                    running=sum(r["state"] == "RUNNING" for r in deployment["replicas"]),
                    wanted=deployment["target_num_replicas"],
                    message=deployment["message"],
                )
                for deployment in application["deployments"].values()
            ),
        )
        for name, application in details["applications"].items()
    )


def token_path() -> Path:
    """The file with the token of Ray's dashboard, which Ray creates on its first start."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def _token() -> str | None:
    given = os.environ.get("RAY_AUTH_TOKEN")
    if given:
        return given
    return token_path().read_text().strip() if token_path().exists() else None
