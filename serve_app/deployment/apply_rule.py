"""Changes a deployment file to another rule, with the pools and sizes that the rule needs."""

from __future__ import annotations

import copy
from typing import Any

from serve_app.deployment.pool_requirements import replica_bounds, required_patch
from serve_app.deployment.scaling import MAX_REPLICAS, pool_scaling
from serve_app.domain import DATA_PLANE, INGRESS, Pool
from serve_app.errors import BadConfig
from serve_app.rules.canary import CanaryRolling
from serve_app.rules.rule import Rule
from serve_app.rules.shadow import Shadow


def with_rule(document: dict[str, Any], content: dict[str, Any], rule: Rule) -> dict[str, Any]:
    """A copy of a deployment file with another rule; keys that the rule does not need are kept.

    Args:
        document: A checked deployment file.
        content: The rule as in the YAML, from which `rule` was parsed.
    """
    changed = copy.deepcopy(document)
    deployment(changed, INGRESS)["user_config"] = {"rule": content}
    _configure_stable(deployment(changed, Pool.STABLE), rule)
    _configure_candidate(deployment(changed, Pool.CANDIDATE), rule)
    return changed


def single_rule(document: dict[str, Any], version: str) -> dict[str, Any]:
    """The content of a rule `single`, with the options of the present rule."""
    present = deployment(document, INGRESS)["user_config"].get("rule") or {}
    kept = ("allow_pin", "trust_headers", "reveal_version")
    return {
        "kind": "single",
        "stable": version,
        **{key: present[key] for key in kept if key in present},
    }


def without_data_plane(document: dict[str, Any]) -> dict[str, Any]:
    """A deployment file without the application `animals`."""
    others = [a for a in document["applications"] if a["name"] != DATA_PLANE]
    return {**document, "applications": others}


def data_plane(document: dict[str, Any]) -> dict[str, Any]:
    """The application `animals` of a deployment file, as a part of it.

    Raises:
        BadConfig: The file has no such application.
    """
    for application in document["applications"]:
        if application["name"] == DATA_PLANE:
            return application  # type: ignore[no-any-return]
    raise BadConfig("applications", f"have no '{DATA_PLANE}': deploy a whole file first")


def deployment(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A deployment of the application `animals`, as a part of the deployment file.

    Raises:
        BadConfig: The deployment or its `user_config` is missing; `serve deploy` allows that.
    """
    for entry in data_plane(document).get("deployments") or []:
        if entry["name"] == name and isinstance(entry.get("user_config"), dict):
            return entry  # type: ignore[no-any-return]
    raise BadConfig(
        f"animals.{name}.user_config",
        "is missing in the deployed configuration: deploy a whole file first",
    )


def _configure_stable(pool: dict[str, Any], rule: Rule) -> None:
    """Set the version, the patch and the size of the stable pool.

    After a rolling canary the pool keeps its fixed size, because its load has not changed. A pool
    of `recreate.yaml` returns to rolling updates.
    """
    if pool.get("rolling_update_percentage") == 1:
        del pool["rolling_update_percentage"]
        pool.pop("max_surge_percent", None)
    pool["user_config"] = {"version": next(iter(rule.versions.values()))}
    scaling = pool.get("autoscaling_config") or pool_scaling(min_replicas=1)
    if isinstance(rule, CanaryRolling):
        pool["user_config"]["patch"] = required_patch(rule)
        fixed = dict.fromkeys(("min_replicas", "initial_replicas", "max_replicas"), rule.of)
        scaling = scaling | fixed  # a copy: a YAML alias may share the mapping with other pools
    pool["autoscaling_config"] = scaling


def _configure_candidate(pool: dict[str, Any], rule: Rule) -> None:
    candidate = rule.candidate_replicas
    least, most = replica_bounds(pool) or (0, MAX_REPLICAS)
    if candidate is None or candidate.pool is not Pool.CANDIDATE:
        pool["user_config"] = {"version": pool["user_config"].get("version")}
        least = 0
    else:
        pool["user_config"] = {"version": candidate.version}
        least = max(1, least)
    if isinstance(rule, Shadow):
        pool["user_config"]["background"] = True
    scaling = pool.get("autoscaling_config") or pool_scaling(least)
    pool["autoscaling_config"] = scaling | {
        "min_replicas": least,
        "initial_replicas": least,
        "max_replicas": max(most, 1),
    }
