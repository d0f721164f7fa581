"""Serve's configuration, read and written from inside the cluster.

The one file that uses Serve's private client: by HTTP the same takes a token and three times as
long.  All calls block; there is no version check on Serve's side, so only the Controller writes.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ray.runtime_env import RuntimeEnv
from ray.serve._private.client import ServeControllerClient
from ray.serve.config import AutoscalingConfig
from ray.serve.context import _get_global_client
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from models.validation import findings
from serve_app.deployment.args import AnimalsArgs
from serve_app.domain import DATA_PLANE
from serve_app.errors import BadConfig

Model = TypeVar("Model", bound=BaseModel)


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
        BadConfig: Serve would reject it, now or when it builds the application, or ignore a part
            of it.
    """
    parsed = _read(ServeDeploySchema, document, "")
    _known(document, ServeDeploySchema.model_fields, "")
    _known(document.get("http_options"), HTTPOptionsSchema.model_fields, "http_options.")
    for application in document.get("applications", []):
        path = f"{application.get('name')}."
        _known(application, ServeApplicationSchema.model_fields, path)
        _known(application.get("runtime_env"), RuntimeEnv.known_fields, f"{path}runtime_env.")
        for deployment in application.get("deployments") or []:
            of_it = f"{path}{deployment.get('name')}."
            _known(deployment, DeploymentSchema.model_fields, of_it)
            scaling = deployment.get("autoscaling_config")
            _known(scaling, AutoscalingConfig.model_fields, f"{of_it}autoscaling_config.")
            if isinstance(scaling, dict):
                _read(AutoscalingConfig, scaling, f"{of_it}autoscaling_config.")
        if application.get("name") == DATA_PLANE:
            _read(AnimalsArgs, application.get("args") or {}, f"{path}args.")
    return parsed


def deploy(configuration: ServeDeploySchema) -> None:
    """Have Serve work towards a configuration; returns at once."""
    _client().deploy_apps(configuration, _blocking=False)


def _client() -> ServeControllerClient:
    client = _get_global_client()
    assert client is not None  # noqa: S101 a replica always has one
    return client


def _known(content: Any, keys: Container[str], path: str) -> None:
    """Reject keys that Serve would ignore; what is no mapping is rejected when it is read."""
    for key in content if isinstance(content, dict) else ():
        if key not in keys:
            raise BadConfig(f"{path}{key}", "is no key of a Ray Serve configuration")


def _read(model: type[Model], content: Any, path: str) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as exc:
        place, message = findings(exc, "configuration")[0]
    except (ImportError, AttributeError) as exc:  # of a policy that it names
        place, message = "policy", str(exc)
    raise BadConfig(f"{path}{place}", f"is rejected: {message}")


def _without_nothing(application: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in application.items() if value is not None}
