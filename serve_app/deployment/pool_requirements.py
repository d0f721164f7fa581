"""Checks that the pools of a deployment file fit its rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from models.validation import Finding
from serve_app.errors import BadConfig
from serve_app.rules.plan import Pool
from serve_app.rules.pools import Patch, PoolConfig, PoolNeed
from serve_app.rules.rule import Rule


def check_pools(
    rule: Rule, pools: Mapping[Pool, dict[str, Any]], configs: Mapping[Pool, PoolConfig]
) -> None:
    """Check the versions, sizes and patches of the pools against a rule.

    Args:
        pools: The pools' entries in the deployment file.
        configs: The pools' `user_config`, parsed.

    Raises:
        BadConfig: Versions, sizes or patches do not fit the rule.
    """
    findings: list[Finding] = []
    for pool, config in configs.items():
        path, need = f"animals.{pool}", rule.pools.get(pool)
        if config.background and not (need and need.background):
            findings.append(
                Finding(
                    f"{path}.user_config.background",
                    f"is true: under {rule.kind} users wait for the pool",
                )
            )
        if need is not None:
            bounds = replica_bounds(pools[pool].get("autoscaling_config"))
            findings += _find_config(path, rule, need, config)
            findings += _find_size(path, rule, need, bounds)
    if findings:
        raise BadConfig.of(findings)


def replica_bounds(scaling: Any) -> tuple[int, int] | None:
    """The smallest and the largest number of replicas of an `autoscaling_config`, if it has any."""
    if not isinstance(scaling, dict):
        return None
    least, most = scaling.get("min_replicas", 1), scaling.get("max_replicas", 1)
    return (least, most) if isinstance(least, int) and isinstance(most, int) else None


def _find_config(path: str, rule: Rule, need: PoolNeed, config: PoolConfig) -> Iterator[Finding]:
    if need.is_assigned and config.version != need.version:
        key = next(key for key, version in rule.versions.items() if version == need.version)
        yield Finding(
            f"{path}.user_config.version", f"is {config.version}: rule.{key} is {need.version}"
        )
    if config.patch != need.patch:
        yield Finding(
            f"{path}.user_config.patch",
            f"is {_to_yaml(config.patch)}: the rule needs {_to_yaml(need.patch)}",
        )


def _find_size(
    path: str, rule: Rule, need: PoolNeed, bounds: tuple[int, int] | None
) -> Iterator[Finding]:
    fixed = need.fixed_replicas
    if fixed is not None and bounds != (fixed, fixed):
        yield Finding(
            f"{path}.autoscaling_config",
            f"does not freeze the pool: {rule.kind} needs {fixed} replicas, so min_replicas and"
            f" max_replicas must be {fixed}",
        )
    if need.min_replicas > (bounds or (0, 0))[0]:
        yield Finding(
            f"{path}.autoscaling_config.min_replicas",
            f"is not above {need.min_replicas - 1}: {rule.kind} needs a replica of {need.version}",
        )


def _to_yaml(patch: Patch | None) -> str:
    if patch is None:
        return "none"
    return "{" + ", ".join(f"{key}: {value}" for key, value in patch) + "}"
