"""Reads and writes Serve's configuration from inside the cluster.

Uses Serve's private client: HTTP needs a token and takes three times as long. All calls block.
Serve does not detect concurrent writes, so only the Controller writes.
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
    """Serve's details of all applications: status, deployments, replicas, configuration."""
    return _client().get_serve_details()  # type: ignore[no-any-return]


def deployed_config(serve_details: dict[str, Any]) -> dict[str, Any]:
    """The configuration that was deployed last, as a deployment file."""
    applications = [
        application["deployed_app_config"]
        for application in serve_details["applications"].values()
        if application.get("deployed_app_config")
    ]
    http = {key: serve_details["http_options"][key] for key in ("host", "port")}
    return {
        "http_options": http,
        "applications": [_without_none(application) for application in applications],
    }


def parse(document: dict[str, Any]) -> ServeDeploySchema:
    """Validate a deployment file against Serve's schema.

    Raises:
        BadConfig: Serve would reject the file, now or when it builds the application, or would
            ignore a key of it.
    """
    parsed = _validate(ServeDeploySchema, document, "")
    _check_keys(document, ServeDeploySchema.model_fields, "")
    _check_keys(document.get("http_options"), HTTPOptionsSchema.model_fields, "http_options.")
    for application in document.get("applications", []):
        path = f"{application.get('name')}."
        _check_keys(application, ServeApplicationSchema.model_fields, path)
        _check_keys(application.get("runtime_env"), RuntimeEnv.known_fields, f"{path}runtime_env.")
        for deployment in application.get("deployments") or []:
            deployment_path = f"{path}{deployment.get('name')}."
            _check_keys(deployment, DeploymentSchema.model_fields, deployment_path)
            scaling = deployment.get("autoscaling_config")
            _check_keys(
                scaling, AutoscalingConfig.model_fields, f"{deployment_path}autoscaling_config."
            )
            if isinstance(scaling, dict):
                _validate(AutoscalingConfig, scaling, f"{deployment_path}autoscaling_config.")
        if application.get("name") == DATA_PLANE:
            _validate(AnimalsArgs, application.get("args") or {}, f"{path}args.")
    return parsed


def deploy(configuration: ServeDeploySchema) -> None:
    """Set Serve's target configuration; returns without waiting for it."""
    _client().deploy_apps(configuration, _blocking=False)


def _client() -> ServeControllerClient:
    client = _get_global_client()
    assert client is not None  # noqa: S101 it exists in every replica
    return client


def _check_keys(content: Any, keys: Container[str], path: str) -> None:
    """Reject keys that Serve would ignore; `_validate` rejects content that is not a mapping."""
    for key in content if isinstance(content, dict) else ():
        if key not in keys:
            raise BadConfig(f"{path}{key}", "is not a key of a Ray Serve configuration")


def _validate(model: type[Model], content: Any, path: str) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as exc:
        key, message = findings(exc, "configuration")[0]
    except (ImportError, AttributeError) as exc:  # of an autoscaling policy
        key, message = "policy", str(exc)
    raise BadConfig(f"{path}{key}", f"is rejected: {message}")


def _without_none(application: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in application.items() if value is not None}
