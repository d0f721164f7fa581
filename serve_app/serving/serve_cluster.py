"""`ServeCluster`: Ray Serve behind the interface of the control plane.

Uses Serve's private client: HTTP needs a token and takes three times as long. Serve does not detect
concurrent writes, so only the Controller writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ray import serve
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
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
from serve_app.control_plane.cluster import (
    ApplicationState,
    ClusterState,
    DataPlaneReplicas,
    DeploymentState,
    IngressReplica,
    ReplicaState,
)
from serve_app.data_plane.pools import Replica
from serve_app.deployment.args import AnimalsArgs
from serve_app.deployment.names import DATA_PLANE, INGRESS
from serve_app.errors import BadConfig, NotReady
from serve_app.rules.plan import Pool
from serve_app.serving.describe import describe_replicas

Model = TypeVar("Model", bound=BaseModel)
T = TypeVar("T")


class ServeCluster:
    """Implements `serve_app.control_plane.cluster.Cluster`."""

    def __init__(self) -> None:
        self._handles = {
            name: serve.get_deployment_handle(name, DATA_PLANE, _check_exists=False)
            for name in (INGRESS, *Pool)
        }

    async def state(self) -> ClusterState:
        try:
            details = await _call(lambda: _client().get_serve_details())
        except RayError as exc:  # for example while Ray's own store restarts
            raise NotReady(f"Serve cannot be read ({exc}): try again in a second") from exc
        http = {key: details["http_options"][key] for key in ("host", "port")}
        return ClusterState(
            {name: _application_state(found) for name, found in details["applications"].items()},
            {
                "http_options": http,
                "applications": _normal_applications(
                    application["deployed_app_config"]
                    for application in details["applications"].values()
                    if application.get("deployed_app_config")
                ),
            },
        )

    async def replicas(self) -> DataPlaneReplicas:
        ingress, stable, candidate = await asyncio.gather(
            describe_replicas(self._handles[INGRESS], IngressReplica),
            describe_replicas(self._handles[Pool.STABLE], Replica),
            describe_replicas(self._handles[Pool.CANDIDATE], Replica),
        )
        return DataPlaneReplicas(tuple(ingress), (*stable, *candidate))

    def normalize(self, document: dict[str, Any]) -> dict[str, Any]:
        parsed = parse(document)
        for application in parsed.applications:  # as Serve does
            if application.logging_config is None and parsed.logging_config is not None:
                application.logging_config = parsed.logging_config
        applications = (a.model_dump(exclude_unset=True) for a in parsed.applications)
        return {**document, "applications": _normal_applications(applications)}

    async def deploy(self, document: dict[str, Any]) -> None:
        configuration = parse(document)
        try:
            await _call(lambda: _client().deploy_apps(configuration, _blocking=False))
        except RayTaskError as exc:
            raise BadConfig("applications", f"are rejected by Serve: {exc.cause}") from exc


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


def _normal_applications(applications: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Applications sorted by name, without the keys whose default is None."""
    return sorted(
        (
            {k: v for k, v in application.items() if v is not None or k == "route_prefix"}
            for application in applications
        ),
        key=lambda application: str(application["name"]),
    )


def _application_state(application: dict[str, Any]) -> ApplicationState:
    return ApplicationState(
        application["status"],
        application["message"],
        {
            name: DeploymentState(
                deployment["status"],
                deployment["message"],
                deployment["target_num_replicas"],
                tuple(
                    ReplicaState(r["replica_id"], r["state"], r.get("pid"))
                    for r in deployment["replicas"]
                ),
            )
            for name, deployment in application["deployments"].items()
        },
    )


async def _call(function: Callable[[], T]) -> T:
    """Call Serve's client, which blocks, in a thread.

    Raises:
        NotReady: Serve's controller cannot be reached.
    """
    try:
        return await asyncio.to_thread(function)
    except (RayActorError, GetTimeoutError) as exc:
        raise NotReady("Serve's controller cannot be reached: try again in a second") from exc
