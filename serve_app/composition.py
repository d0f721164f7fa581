"""What a rule asks of the deployments: the pools that it needs, at the size that it needs."""

from __future__ import annotations

import copy
from typing import Any

from serve_app.agreement import least_replicas, patch
from serve_app.config import CONTROL_PLANE, DATA_PLANE, INGRESS
from serve_app.domain import Pool
from serve_app.rules.canary import CanaryRolling
from serve_app.rules.rule import Rule
from serve_app.rules.shadow import Shadow
from serve_app.scaling import ROUTING, pool_scaling

# So soon do the ingresses know who was patched.
PROMPT_ROUTING = ROUTING | {"request_routing_stats_period_s": 0.5}
SIZES = ("num_replicas", "autoscaling_config")


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
    present = deployment(document, INGRESS)["user_config"]["rule"]
    kept = ("allow_pin", "trust_headers", "reveal_version")
    return {
        "kind": "single",
        "stable": version,
        **{key: present[key] for key in kept if key in present},
    }


def without_data_plane(document: dict[str, Any]) -> dict[str, Any]:
    """What is left while the data plane is torn down."""
    control = [a for a in document["applications"] if a["name"] == CONTROL_PLANE]
    return {**document, "applications": control}


def data_plane(document: dict[str, Any]) -> dict[str, Any]:
    """The application `animals` of a checked document."""
    return next(a for a in document["applications"] if a["name"] == DATA_PLANE)


def deployment(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A deployment of a checked document's data plane; a part of the document."""
    return next(d for d in data_plane(document)["deployments"] if d["name"] == name)


def _stable(pool: dict[str, Any], rule: Rule) -> None:
    stable = next(iter(rule.versions.values()))
    was_patched = "patch" in pool["user_config"]
    pool["user_config"] = {"version": stable}
    if isinstance(rule, CanaryRolling):
        pool["user_config"]["patch"] = patch(rule)
        _resize(pool, num_replicas=rule.of)
        pool["request_router_config"] = dict(PROMPT_ROUTING)
    elif was_patched:
        _resize(pool)
        pool.pop("request_router_config", None)


def _candidate(pool: dict[str, Any], rule: Rule) -> None:
    candidate = rule.candidate_replicas
    if candidate is None or candidate.pool is not Pool.CANDIDATE:
        pool["user_config"] = {"version": pool["user_config"]["version"]}
        _resize(pool)
        return
    pool["user_config"] = {"version": candidate.version}
    if isinstance(rule, Shadow):
        pool["user_config"]["background"] = True
    if least_replicas(pool) == 0:
        _resize(pool, autoscaling_config=pool_scaling(min_replicas=1))


def _resize(pool: dict[str, Any], **size: Any) -> None:
    """Give a pool a size; without one, it has that of the code."""
    for key in SIZES:
        pool.pop(key, None)
    pool.update(size)
