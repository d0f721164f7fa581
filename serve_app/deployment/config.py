"""The deployment files: ordinary Ray Serve configurations that list both applications."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import registry
from serve_app.deployment import pool_requirements
from serve_app.domain import CONTROL_API, CONTROL_PLANE, CONTROLLER, DATA_PLANE, INGRESS, Pool
from serve_app.errors import BadConfig
from serve_app.rules.parse import PoolConfig, ingress_config, pool_config
from serve_app.rules.rule import Rule
from serve_app.yaml_file import read_mapping

# What Serve 2.60 changes in the replicas that run (`DeploymentOptionUpdateType` in its
# `_private/config.py`); anything else replaces them. So does an autoscaling_config that
# comes or goes, or has another policy (`get_app_code_version` in its `deploy_utils.py`).
IN_PLACE = (
    "autoscaling_config",
    "backpressure_config",
    "graceful_shutdown_timeout_s",
    "graceful_shutdown_wait_loop_s",
    "health_check_period_s",
    "health_check_timeout_s",
    "logging_config",
    "max_ongoing_requests",
    "max_queued_requests",
    "max_surge_percent",
    "num_replicas",  # of what is not autoscaled: ControlApi
    "rolling_update_percentage",
    "user_config",
)

ROUTES = {DATA_PLANE: "/", CONTROL_PLANE: f"/{CONTROL_PLANE}"}
DEPLOYMENTS = {DATA_PLANE: (INGRESS, *Pool), CONTROL_PLANE: (CONTROLLER, CONTROL_API)}


@dataclass(frozen=True)
class Difference:
    """One key that two configurations do not share; None is a key that is not there.

    Attributes:
        path: Such as `animals.StablePool.user_config.version`.
        restarts: Whether replicas are replaced for it.
    """

    path: str
    before: Any
    after: Any
    restarts: bool

    @property
    def values(self) -> tuple[Any, Any]:
        """Before and after."""
        return self.before, self.after


def read(path: Path) -> dict[str, Any]:
    """A deployment file as it is written.

    Raises:
        BadConfig: See `read_mapping`.
    """
    return read_mapping(path, "a Ray Serve configuration")


def check(document: dict[str, Any], known: Collection[str]) -> Rule:
    """Reject what would harm the service; the rule, if it would not.

    Args:
        known: The versions of the registry.

    Raises:
        BadConfig: An application is left out (Serve would delete it) or moved, there is a
            deployment too many, a rule or a pool's configuration is rejected, or the pools are not
            what the rule needs.
    """
    named = _applications(document)
    entries = _deployments(named, DATA_PLANE)
    for name in (INGRESS, *Pool):
        entry = entries.get(name, {})
        if entry.get("user_config") is None:
            raise BadConfig(
                f"{DATA_PLANE}.{name}.user_config", "is missing: say what the deployment obeys"
            )
        if "num_replicas" in entry:  # Serve would ignore it: the code has an autoscaling_config
            raise BadConfig(
                f"{DATA_PLANE}.{name}.num_replicas",
                f"is {entry['num_replicas']}: it is autoscaled; to fix the number, set"
                " autoscaling_config.min_replicas and max_replicas to it",
            )
        if "request_router_config" in entry:
            raise BadConfig(
                f"{DATA_PLANE}.{name}.request_router_config",
                "is set: the code has the one that canaries need",
            )
    controller = _deployments(named, CONTROL_PLANE).get(CONTROLLER, {})
    for key in ("num_replicas", "autoscaling_config"):
        if key in controller:
            raise BadConfig(
                f"{CONTROL_PLANE}.{CONTROLLER}.{key}", "is set: there is one, which alone writes"
            )
    rule = ingress_config(entries[INGRESS]["user_config"], known)
    configs = {pool: _assignment(pool, entries[pool]["user_config"], known) for pool in Pool}
    pool_requirements.check(rule, {pool: entries[pool] for pool in Pool}, configs)
    return rule


def user_configs(document: dict[str, Any]) -> dict[str, Any]:
    """The `user_config` of each deployment of a checked document's data plane, by its name."""
    return {
        deployment["name"]: deployment.get("user_config")
        for application in document["applications"]
        if application["name"] == DATA_PLANE
        for deployment in application.get("deployments") or []
    }


def registry_folder(document: dict[str, Any]) -> Path:
    """The registry that the data plane is to serve from."""
    applications = document.get("applications")
    for application in applications if isinstance(applications, list) else []:
        if isinstance(application, dict) and application.get("name") == DATA_PLANE:
            args = application.get("args")
            folder = args.get("registry") if isinstance(args, dict) else None
            return Path(str(folder)) if folder else registry.SHIPPED
    return registry.SHIPPED


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """What a deployment would change, key by key."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return [
        Difference(path, old.get(path), new.get(path), _restarts(path, old, new))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def _applications(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By name, with the two that are ours in their places."""
    applications = document.get("applications")
    if not isinstance(applications, list) or not all(isinstance(a, dict) for a in applications):
        raise BadConfig("applications", "is no list of applications")
    named = {str(application.get("name")): application for application in applications}
    for name, route in ROUTES.items():
        if name not in named:
            raise BadConfig(
                "applications", f"leaves out '{name}', and Serve would delete it: list it"
            )
        if named[name].get("route_prefix", "/") != route:
            raise BadConfig(
                f"{name}.route_prefix",
                f"is {named[name].get('route_prefix', '/')}: it is reached at {route}",
            )
    return named


def _deployments(
    applications: dict[str, dict[str, Any]], application: str
) -> dict[str, dict[str, Any]]:
    """Those that a file says something of, by name."""
    listed = applications[application].get("deployments") or []
    if not isinstance(listed, list) or not all(isinstance(d, dict) for d in listed):
        raise BadConfig(f"{application}.deployments", "is no list of deployments")
    entries = {str(deployment.get("name")): deployment for deployment in listed}
    if len(entries) < len(listed):
        raise BadConfig(f"{application}.deployments", "names one twice")
    for name in entries:
        if name not in DEPLOYMENTS[application]:
            raise BadConfig(
                f"{application}.{name}", f"is none of {', '.join(DEPLOYMENTS[application])}"
            )
    return entries


def _assignment(pool: Pool, user_config: Any, known: Collection[str]) -> PoolConfig:
    try:
        return pool_config(user_config, known)
    except BadConfig as exc:
        inside = exc.path.removeprefix("user_config")
        path = f"{DATA_PLANE}.{pool}.user_config"
        raise BadConfig(f"{path}.{inside}" if inside else path, exc.message) from exc


def _restarts(path: str, *documents: dict[str, Any]) -> bool:
    application, *deployment_and_key = path.split(".")
    if len(deployment_and_key) < 2 or deployment_and_key[1] not in IN_PLACE:
        return True
    if deployment_and_key[1] != "autoscaling_config":
        return False
    inside = ".".join([application, *deployment_and_key[:2], ""])
    both_have_one = all(any(p.startswith(inside) for p in d) for d in documents)
    return not both_have_one or deployment_and_key[2] == "policy"


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its path; items with a name are known by it, not by their place."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("applications", "deployments"):
                yield from _leaves(value, path)
            elif key != "name":
                yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list) and all(isinstance(item, dict) for item in node):
        for index, item in enumerate(node):
            name = str(item.get("name", index))
            yield from _leaves(item, f"{path}.{name}" if path else name)
    else:
        yield path, node
