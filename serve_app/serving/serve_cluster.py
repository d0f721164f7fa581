"""`ServeCluster`: Ray Serve behind the interface of the control plane.

Uses Serve's private client: HTTP needs a token and takes three times as long. Serve does not detect
concurrent writes, so only the Controller writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ray import serve
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.runtime_env import RuntimeEnv
from ray.serve._private.client import ServeControllerClient
from ray.serve._private.config import DeploymentConfig
from ray.serve.config import AutoscalingConfig
from ray.serve.context import _get_global_client
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from models.validation import Finding, find, nearest_of
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
        BadConfig: Serve would reject the file, now or when it builds the application, would ignore
            a key of it, or could not store it.
    """
    findings = list(_find_unknown_keys(document))
    parsed: ServeDeploySchema | None = None
    try:
        parsed = ServeDeploySchema.model_validate(document)
    except ValidationError as exc:
        findings += _find(exc, document)
    for path, entry in _deployments(document):
        scaling = entry.get("autoscaling_config")
        if isinstance(scaling, dict):
            findings += _validate(AutoscalingConfig, scaling, f"{path}.autoscaling_config")
    for application in _mappings(document.get("applications")):
        if application.get("name") == DATA_PLANE:
            args = application.get("args") or {}
            findings += _validate(AnimalsArgs, args, f"{DATA_PLANE}.args")
    if parsed and not findings:
        findings += _find_unstorable(parsed)
    if findings or not parsed:
        by_path = {finding.path: finding for finding in reversed(findings)}  # the first of each
        raise BadConfig.of([*reversed(by_path.values())])
    return parsed


def _client() -> ServeControllerClient:
    client = _get_global_client()
    assert client is not None  # noqa: S101 it exists in every replica
    return client


def _mappings(content: Any) -> list[dict[str, Any]]:
    return [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []


def _deployments(
    document: dict[str, Any],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of all deployments, with their paths."""
    for application in _mappings(document.get("applications")):
        for entry in _mappings(application.get("deployments")):
            yield f"{application.get('name')}.{entry.get('name')}", entry


def _find_unknown_keys(document: dict[str, Any]) -> Iterator[Finding]:
    """The keys that Serve would ignore."""
    yield from _unknown(document, ServeDeploySchema.model_fields, "")
    yield from _unknown(
        document.get("http_options"), HTTPOptionsSchema.model_fields, "http_options."
    )
    for application in _mappings(document.get("applications")):
        path = f"{application.get('name')}."
        yield from _unknown(application, ServeApplicationSchema.model_fields, path)
        environment = application.get("runtime_env")
        yield from _unknown(environment, RuntimeEnv.known_fields, f"{path}runtime_env.")
    for path, entry in _deployments(document):
        yield from _unknown(entry, DeploymentSchema.model_fields, f"{path}.")
        scaling = entry.get("autoscaling_config")
        keys = AutoscalingConfig.model_fields
        yield from _unknown(scaling, keys, f"{path}.autoscaling_config.")


def _unknown(content: Any, keys: Iterable[str], path: str) -> Iterator[Finding]:
    for key in content if isinstance(content, dict) else ():
        if key not in keys:
            hint = f"; did you mean {near}?" if (near := nearest_of(str(key), [*keys])) else ""
            message = f"is not a key of a Ray Serve configuration{hint}"
            yield Finding(f"{path}{key}", message)


def _validate(model: type[BaseModel], content: Any, path: str) -> Iterator[Finding]:
    try:
        model.model_validate(content)
    except ValidationError as exc:
        for finding in find(exc.errors(), "", model):
            yield Finding(f"{path}.{finding.path}".rstrip("."), finding.message)
    except (ImportError, AttributeError) as exc:  # of an autoscaling policy
        yield Finding(f"{path}.policy", f"cannot be loaded: {exc}")


def _find(exc: ValidationError, document: dict[str, Any]) -> Iterator[Finding]:
    """The errors of Serve's schema, with the names of applications and deployments as keys."""
    for error in exc.errors():
        (finding,) = find([error], "")
        yield Finding(_named_path(error, document) or "configuration", finding.message)


def _named_path(error: Any, document: dict[str, Any]) -> str:
    node: Any = document
    keys: list[str] = []
    for key in error["loc"]:
        if isinstance(node, list) and isinstance(key, int) and key < len(node):
            node = node[key]
            keys.append(str(node.get("name", key) if isinstance(node, dict) else key))
        elif isinstance(node, dict) and key in node:
            node = node[key]
            if key not in ("applications", "deployments") or not isinstance(node, list):
                keys.append(str(key))
        elif error["type"] == "missing":  # other keys are names of types in a union
            keys.append(str(key))
    return ".".join(keys)


def _find_unstorable(parsed: ServeDeploySchema) -> Iterator[Finding]:
    """The deployments that Serve's controller could not store: it would try for ever."""
    for application in parsed.applications:
        for deployment in application.deployments:
            given = deployment.model_dump(exclude_unset=True)
            options = {key: given[key] for key in DeploymentConfig.model_fields if key in given}
            if options.get("num_replicas") == "auto":
                del options["num_replicas"]
            try:
                DeploymentConfig(**options).to_proto_bytes()  # type: ignore[no-untyped-call]
            except (ValueError, TypeError, OverflowError) as exc:
                reason = " ".join(str(exc).split())[:200]
                path = f"{application.name}.{deployment.name}"
                yield Finding(path, f"cannot be stored by Serve: {reason}")


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
