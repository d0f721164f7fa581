"""Serve's configuration, read and written from inside the cluster.

The one file that uses Serve's private client: by HTTP the same takes a token and three times as
long.  All calls block; there is no version check on Serve's side, so only the Controller writes.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from ray.serve._private.client import ServeControllerClient
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from models.validation import findings
from serve_app.errors import BadConfig


def details() -> dict[str, Any]:
    """Serve's own account of every application: status, deployments, replicas, configuration."""
    return _client().get_serve_details()  # type: ignore[no-any-return]


def deployed(serve_details: dict[str, Any]) -> dict[str, Any]:
    """The configuration that was sent last, as a deployment file."""
    applications = [
        application["deployed_app_config"]
        for application in serve_details["applications"].values()
        if application.get("deployed_app_config")
    ]
    http = {key: serve_details["http_options"][key] for key in ("host", "port")}
    return {
        "http_options": http,
        "applications": [_without_nothing(application) for application in applications],
    }


def parse(document: dict[str, Any]) -> ServeDeploySchema:
    """A deployment file as Serve reads it.

    Raises:
        BadConfig: Serve would refuse it, or ignore a part of it.
    """
    for key in document:
        if key not in ServeDeploySchema.model_fields:
            raise BadConfig(str(key), "is no key of a Ray Serve configuration")
    try:
        return ServeDeploySchema.model_validate(document)
    except ValidationError as exc:
        path, message = findings(exc, "configuration")[0]
        raise BadConfig(path, f"is refused: {message}") from exc


def deploy(configuration: ServeDeploySchema) -> None:
    """Have Serve work towards a configuration; returns at once."""
    _client().deploy_apps(configuration, _blocking=False)


def _client() -> ServeControllerClient:
    client = _get_global_client()
    assert client is not None  # noqa: S101 a replica always has one
    return client


def _without_nothing(application: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in application.items() if value is not None}
