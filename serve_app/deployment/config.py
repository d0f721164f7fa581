"""Reads, checks and compares deployment files: Ray Serve configurations of both applications."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import registry
from models.validation import Finding, missing_key, nearest_of, quote
from serve_app.deployment import numbers, pool_requirements
from serve_app.deployment.names import CONTROL_API, CONTROL_PLANE, CONTROLLER, DATA_PLANE, INGRESS
from serve_app.errors import BadConfig
from serve_app.rules.parse import ingress_config, pool_config
from serve_app.rules.plan import Pool
from serve_app.rules.pools import PoolConfig
from serve_app.rules.rule import Rule
from serve_app.yaml_file import read_mapping

# Options that Serve 2.60 changes in running replicas (`DeploymentOptionUpdateType` in its
# `_private/config.py`). Any other option replaces the replicas. So does an autoscaling_config that
# is added or removed, or has another policy (`get_app_code_version` in its `deploy_utils.py`).
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
    "num_replicas",  # of a deployment that is not autoscaled: ControlApi
    "rolling_update_percentage",
    "user_config",
)

ROUTES = {DATA_PLANE: "/", CONTROL_PLANE: f"/{CONTROL_PLANE}"}
DEPLOYMENTS = {DATA_PLANE: (INGRESS, *Pool), CONTROL_PLANE: (CONTROLLER, CONTROL_API)}


@dataclass(frozen=True)
class Difference:
    """One key with different values in two configurations.

    Attributes:
        path: The path of the key, such as `animals.StablePool.user_config.version`.
        before, after: The values; None for a missing key.
        restarts_replicas: Whether Serve replaces replicas for the change.
    """

    path: str
    before: Any
    after: Any
    restarts_replicas: bool

    @property
    def values(self) -> tuple[Any, Any]:
        """Before and after."""
        return self.before, self.after


def read(path: Path) -> dict[str, Any]:
    """The content of a deployment file.

    Raises:
        BadConfig: The file cannot be read, or is not a YAML mapping.
    """
    return read_mapping(path, "a Ray Serve configuration")


def check(document: dict[str, Any], known: Collection[str]) -> Rule:
    """Check a deployment file; returns its rule.

    Args:
        known: The versions in the registry.

    Raises:
        BadConfig: An application is missing (Serve would delete it) or has another route, a
            deployment is unknown, a `user_config` is rejected, or the pools do not fit the rule.
    """
    applications = _applications_by_name(document)
    entries = _deployments_by_name(applications, DATA_PLANE)
    findings = list(_find_forbidden_keys(entries, applications))
    for name in applications:
        for deployment, entry in _entries(applications, name).items():
            findings += numbers.find_faults(entry, f"{name}.{deployment}")
    rule: Rule | None = None
    configs: dict[Pool, PoolConfig] = {}
    for name in (INGRESS, *Pool):
        try:
            user_config = _user_config(name, entries.get(name))
            if name == INGRESS:
                rule = ingress_config(user_config, known)
            else:
                configs[Pool(name)] = _parse_pool_config(Pool(name), user_config, known)
        except BadConfig as exc:
            findings += exc.findings
    if findings or rule is None:
        raise BadConfig.of(findings)
    pool_requirements.check_pools(rule, {pool: entries[pool] for pool in Pool}, configs)
    return rule


def user_configs(document: dict[str, Any]) -> dict[str, Any]:
    """The `user_config` of each deployment of the data plane in a checked file, by name."""
    return {
        deployment["name"]: deployment.get("user_config")
        for application in document["applications"]
        if application["name"] == DATA_PLANE
        for deployment in application.get("deployments") or []
    }


def registry_folder(document: dict[str, Any]) -> Path:
    """The folder of the registry that a deployment file names, or the shipped one."""
    applications = document.get("applications")
    for application in applications if isinstance(applications, list) else []:
        if isinstance(application, dict) and application.get("name") == DATA_PLANE:
            args = application.get("args")
            folder = args.get("registry") if isinstance(args, dict) else None
            return Path(str(folder)) if folder else registry.SHIPPED
    return registry.SHIPPED


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """The keys that differ between two configurations, sorted by path."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return [
        Difference(path, old.get(path), new.get(path), _restarts_replicas(path, old, new))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def _applications_by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The applications by name; checks that both of serve-app are listed, with their routes."""
    applications = document.get("applications")
    if not isinstance(applications, list) or not all(isinstance(a, dict) for a in applications):
        if applications is None:
            raise BadConfig.of([missing_key("applications", document)])
        raise BadConfig("applications", "is not a list of applications")
    by_name = {str(application.get("name")): application for application in applications}
    if len(by_name) < len(applications):
        raise BadConfig("applications", "lists a name twice: keep one")
    findings = []
    for name, route in ROUTES.items():
        if name not in by_name:
            nearest = nearest_of(name, [*by_name])
            findings.append(
                Finding(
                    "applications",
                    f"leaves out '{name}', and Serve would delete it: list it"
                    + (f" (it has {nearest})" if nearest else ""),
                )
            )
        elif (actual := by_name[name].get("route_prefix", "/")) != route:
            findings.append(
                Finding(f"{name}.route_prefix", f"is {quote(actual)}: expected {route}")
            )
    if findings:
        raise BadConfig.of(findings)
    return by_name


def _deployments_by_name(
    applications: dict[str, dict[str, Any]], application: str
) -> dict[str, dict[str, Any]]:
    """The entries of the deployments of an application of serve-app, by name."""
    entries = _entries(applications, application)
    names = DEPLOYMENTS[application]
    findings = [
        Finding(f"{application}.{name}", f"is not one of {', '.join(names)}{_hint(name, names)}")
        for name in entries
        if name not in names
    ]
    if findings:
        raise BadConfig.of(findings)
    return entries


def _entries(
    applications: dict[str, dict[str, Any]], application: str
) -> dict[str, dict[str, Any]]:
    """The entries of an application's deployments, by name."""
    listed = applications[application].get("deployments") or []
    if not isinstance(listed, list) or not all(isinstance(d, dict) for d in listed):
        raise BadConfig(f"{application}.deployments", "is not a list of deployments")
    entries = {str(deployment.get("name")): deployment for deployment in listed}
    if len(entries) < len(listed):
        raise BadConfig(f"{application}.deployments", "lists a name twice")
    return entries


def _find_forbidden_keys(
    entries: dict[str, dict[str, Any]], applications: dict[str, dict[str, Any]]
) -> Iterator[Finding]:
    for name in (INGRESS, *Pool):
        entry = entries.get(name, {})
        if "num_replicas" in entry:  # Serve would ignore it: the code sets an autoscaling_config
            yield Finding(
                f"{DATA_PLANE}.{name}.num_replicas",
                f"is {entry['num_replicas']}, but the deployment is autoscaled: set"
                " autoscaling_config.min_replicas and max_replicas to fix its size",
            )
        if "request_router_config" in entry:
            yield Finding(
                f"{DATA_PLANE}.{name}.request_router_config",
                "is set: leave it out, canaries need the router that the code sets",
            )
    controller = _deployments_by_name(applications, CONTROL_PLANE).get(CONTROLLER, {})
    for key in ("num_replicas", "autoscaling_config"):
        if key in controller:
            yield Finding(
                f"{CONTROL_PLANE}.{CONTROLLER}.{key}",
                "is set: leave it out, there is one Controller",
            )


def _user_config(name: str, entry: dict[str, Any] | None) -> Any:
    """The `user_config` of a deployment of the data plane.

    Raises:
        BadConfig: There is none.
    """
    path = f"{DATA_PLANE}.{name}"
    if entry is not None and entry.get("user_config") is not None:
        return entry["user_config"]
    finding = missing_key("user_config", entry or {})
    if finding.path == "user_config":
        finding = Finding(finding.path, "is missing: every deployment needs one")
    raise BadConfig(f"{path}.{finding.path}", finding.message)


def _parse_pool_config(pool: Pool, user_config: Any, known: Collection[str]) -> PoolConfig:
    try:
        return pool_config(user_config, known)
    except BadConfig as exc:
        path = f"{DATA_PLANE}.{pool}.user_config"
        insides = [(f.path.removeprefix("user_config"), f.message) for f in exc.findings]
        findings = [Finding(f"{path}.{at}" if at else path, message) for at, message in insides]
        raise BadConfig.of(findings) from exc


def _hint(word: str, words: Collection[str]) -> str:
    nearest = nearest_of(word, [*words])
    return f"; did you mean {nearest}?" if nearest else ""


def _restarts_replicas(path: str, *documents: dict[str, Any]) -> bool:
    application, *deployment_and_key = path.split(".")
    if len(deployment_and_key) < 2 or deployment_and_key[1] not in IN_PLACE:
        return True
    if deployment_and_key[1] != "autoscaling_config":
        return False
    prefix = ".".join([application, *deployment_and_key[:2], ""])
    both_have_scaling = all(any(p.startswith(prefix) for p in d) for d in documents)
    return not both_have_scaling or deployment_and_key[2] == "policy"


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its path; list items are identified by their `name`, or else by index."""
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
