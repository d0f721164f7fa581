"""Changes a deployment file to another rule, with the pools and sizes that the rule needs."""

from __future__ import annotations

import copy
from typing import Any

from serve_app.deployment.names import DATA_PLANE, INGRESS
from serve_app.deployment.pool_requirements import replica_bounds
from serve_app.deployment.scaling import DEFAULT_MIN_REPLICAS, pool_scaling
from serve_app.errors import BadConfig
from serve_app.rules.plan import Pool
from serve_app.rules.pools import PoolNeed
from serve_app.rules.rule import Rule


def with_rule(document: dict[str, Any], content: dict[str, Any], rule: Rule) -> dict[str, Any]:
    """A copy of a deployment file with another rule; keys that the rule does not need are kept.

    After a rolling canary the stable pool keeps its fixed size, because its load has not changed. A
    pool of `recreate.yaml` returns to rolling updates.

    Args:
        document: A checked deployment file.
        content: The rule as in the YAML, from which `rule` was parsed.
    """
    changed = copy.deepcopy(document)
    deployment(changed, INGRESS)["user_config"] = {"rule": content}
    for pool in Pool:
        entry = deployment(changed, pool)
        _restore_rolling_updates(entry)
        need = rule.pools.get(pool)
        entry["user_config"] = _user_config(entry["user_config"], need)
        scaling = entry.get("autoscaling_config") or pool_scaling(DEFAULT_MIN_REPLICAS[pool])
        entry["autoscaling_config"] = _scaling(scaling, need)
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


def _restore_rolling_updates(pool: dict[str, Any]) -> None:
    if pool.get("rolling_update_percentage") == 1:
        del pool["rolling_update_percentage"]
        pool.pop("max_surge_percent", None)


def _user_config(present: dict[str, Any], need: PoolNeed | None) -> dict[str, Any]:
    if need is None:
        return {"version": present.get("version")}
    config: dict[str, Any] = {"version": need.version}
    if need.patch:
        config["patch"] = need.patch.model_dump()
    if need.background:
        config["background"] = True
    return config


def _scaling(present: dict[str, Any], need: PoolNeed | None) -> dict[str, Any]:
    """A copy of an `autoscaling_config` with the numbers of replicas that a rule needs."""
    least, most = replica_bounds(present) or (0, 0)
    if need is None:
        least = 0
    elif need.fixed_replicas is not None:
        least = most = need.fixed_replicas
    elif least < need.min_replicas:
        least = need.min_replicas
    else:
        return dict(present)
    bounds = {"min_replicas": least, "initial_replicas": least, "max_replicas": max(most, least, 1)}
    return present | bounds  # a copy: a YAML alias may share the mapping with other pools
