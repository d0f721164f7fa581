"""What a rule asks of the deployments: the pools that it needs, at the size that it needs."""

from __future__ import annotations

import copy
from typing import Any

from serve_app.deployment.pool_requirements import bounds, patch
from serve_app.deployment.scaling import MAX_REPLICAS, pool_scaling
from serve_app.domain import DATA_PLANE, INGRESS, Pool
from serve_app.errors import BadConfig
from serve_app.rules.canary import CanaryRolling
from serve_app.rules.rule import Rule
from serve_app.rules.shadow import Shadow


def with_rule(document: dict[str, Any], content: dict[str, Any], rule: Rule) -> dict[str, Any]:
    """A deployment file under another rule; what the rule does not concern stays.

    Args:
        document: A checked one.
        content: The rule as in the YAML, from which `rule` was read.
    """
    changed = copy.deepcopy(document)
    deployment(changed, INGRESS)["user_config"] = {"rule": content}
    _stable(deployment(changed, Pool.STABLE), rule)
    _candidate(deployment(changed, Pool.CANDIDATE), rule)
    return changed


def with_version(document: dict[str, Any], version: str) -> dict[str, Any]:
    """The content of the rule under which `version` answers everybody."""
    present = deployment(document, INGRESS)["user_config"].get("rule") or {}
    kept = ("allow_pin", "trust_headers", "reveal_version")
    return {
        "kind": "single",
        "stable": version,
        **{key: present[key] for key in kept if key in present},
    }


def without_data_plane(document: dict[str, Any]) -> dict[str, Any]:
    """What is left while the data plane is torn down."""
    others = [a for a in document["applications"] if a["name"] != DATA_PLANE]
    return {**document, "applications": others}


def data_plane(document: dict[str, Any]) -> dict[str, Any]:
    """The application `animals` of a document.

    Raises:
        BadConfig: It has none.
    """
    for application in document["applications"]:
        if application["name"] == DATA_PLANE:
            return application  # type: ignore[no-any-return]
    raise BadConfig("applications", f"have no '{DATA_PLANE}': deploy one")


def deployment(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A deployment of a document's data plane, with its `user_config`; a part of the document.

    Raises:
        BadConfig: It is not listed, as in a file that Ray's own command has deployed.
    """
    for one in data_plane(document).get("deployments") or []:
        if one["name"] == name and isinstance(one.get("user_config"), dict):
            return one  # type: ignore[no-any-return]
    raise BadConfig(
        f"animals.{name}.user_config", "is not in what was deployed: deploy a whole file first"
    )


def _stable(pool: dict[str, Any], rule: Rule) -> None:
    """A pool that was frozen for a canary keeps its size afterwards: its load is what it was. One
    whose replicas were replaced all at once is rolled from now on."""
    if pool.get("rolling_update_percentage") == 1:
        del pool["rolling_update_percentage"]
        pool.pop("max_surge_percent", None)
    pool["user_config"] = {"version": next(iter(rule.versions.values()))}
    scaling = pool.get("autoscaling_config") or pool_scaling(min_replicas=1)
    if isinstance(rule, CanaryRolling):
        pool["user_config"]["patch"] = patch(rule)
        frozen = dict.fromkeys(("min_replicas", "initial_replicas", "max_replicas"), rule.of)
        scaling = scaling | frozen  # a new one: by an alias of YAML others may have it too
    pool["autoscaling_config"] = scaling


def _candidate(pool: dict[str, Any], rule: Rule) -> None:
    candidate = rule.candidate_replicas
    least, most = bounds(pool) or (0, MAX_REPLICAS)
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
