"""Checks that the pools of a deployment file fit its rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serve_app.domain import Pool
from serve_app.errors import BadConfig
from serve_app.rules.canary import CanaryRolling
from serve_app.rules.parse import PoolConfig
from serve_app.rules.rule import Rule
from serve_app.rules.shadow import Shadow


def check_pools(
    rule: Rule, pools: Mapping[Pool, dict[str, Any]], configs: Mapping[Pool, PoolConfig]
) -> None:
    """Check the versions, sizes and patches of the pools against a rule.

    Args:
        pools: The pools' entries in the deployment file.
        configs: The pools' `user_config`, parsed.

    Raises:
        BadConfig: A version, a size or a patch does not fit the rule.
    """
    _check_stable(rule, pools[Pool.STABLE], configs[Pool.STABLE])
    _check_candidate(rule, pools[Pool.CANDIDATE], configs[Pool.CANDIDATE])


def required_patch(rule: CanaryRolling) -> dict[str, Any]:
    """The `patch` in the `user_config` of the stable pool of a rolling canary."""
    return {"version": rule.candidate, "replicas": rule.replicas, "of": rule.of}


def replica_bounds(pool: Mapping[str, Any]) -> tuple[int, int] | None:
    """The smallest and the largest number of replicas in a pool's entry; None if it has none."""
    scaling = pool.get("autoscaling_config")
    if not isinstance(scaling, dict):
        return None
    least, most = scaling.get("min_replicas", 1), scaling.get("max_replicas", 1)
    return (least, most) if isinstance(least, int) and isinstance(most, int) else None


def _check_stable(rule: Rule, pool: Mapping[str, Any], config: PoolConfig) -> None:
    path = f"animals.{Pool.STABLE}"
    key, stable = next(iter(rule.versions.items()))
    if rule.experiment_terms and config.version != stable:
        raise BadConfig(
            f"{path}.user_config.version", f"is {config.version}: rule.{key} is {stable}"
        )
    actual = config.patch.model_dump() if config.patch else None
    required = required_patch(rule) if isinstance(rule, CanaryRolling) else None
    if actual != required:
        raise BadConfig(
            f"{path}.user_config.patch",
            f"is {_to_yaml(actual)}: the rule needs {_to_yaml(required)}",
        )
    if isinstance(rule, CanaryRolling) and replica_bounds(pool) != (rule.of, rule.of):
        raise BadConfig(
            f"{path}.autoscaling_config",
            f"does not freeze the pool: rule.of is {rule.of}, so min_replicas and max_replicas"
            f" must be {rule.of}",
        )


def _check_candidate(rule: Rule, pool: Mapping[str, Any], config: PoolConfig) -> None:
    path = f"animals.{Pool.CANDIDATE}"
    if config.background and not isinstance(rule, Shadow):
        raise BadConfig(
            f"{path}.user_config.background",
            f"is true: under {rule.kind} users wait for the candidate",
        )
    candidate = rule.candidate_replicas
    if candidate is None or candidate.pool is not Pool.CANDIDATE:
        return
    if config.version != candidate.version:
        raise BadConfig(
            f"{path}.user_config.version",
            f"is {config.version}: the candidate of the rule is {candidate.version}",
        )
    if not (replica_bounds(pool) or (0, 0))[0]:
        raise BadConfig(
            f"{path}.autoscaling_config.min_replicas",
            f"is not above 0: {rule.kind} needs a replica of the candidate",
        )


def _to_yaml(content: dict[str, Any] | None) -> str:
    if content is None:
        return "none"
    return "{" + ", ".join(f"{key}: {value}" for key, value in content.items()) + "}"
