"""Parses and validates the `user_config` of the deployments."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from serve_app.errors import BadConfig
from serve_app.rules.pools import PoolConfig
from serve_app.rules.registry import KINDS
from serve_app.rules.rule import Rule
from serve_app.rules.validation import validate


def ingress_config(user_config: Any, known: Collection[str]) -> Rule:
    """The rule in the `user_config` of an Ingress, whose only key is `rule`.

    Args:
        known: The versions in the registry.

    Raises:
        BadConfig: The content is not a rule, or names an unknown version.
    """
    if not isinstance(user_config, dict):
        raise BadConfig("user_config", "is rejected: expected a mapping with the key rule")
    for key in user_config:
        if key != "rule":
            raise BadConfig(str(key), "is rejected: the only key is rule")
    return parse_rule(user_config.get("rule"), known)


def parse_rule(content: Any, known: Collection[str]) -> Rule:
    """The rule of a YAML mapping.

    Args:
        known: The versions in the registry.

    Raises:
        BadConfig: The content is not a rule, or names an unknown version.
    """
    rule = read_rule(content)
    for key, version in rule.versions.items():
        _require_known(f"rule.{key}", version, known)
    return rule


def read_rule(content: Any) -> Rule:
    """The rule of an earlier epoch; its versions need not be in the registry any more.

    Raises:
        BadConfig: The content is not a rule.
    """
    if not isinstance(content, dict):
        raise BadConfig("rule", "is rejected: expected a mapping with the key kind")
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadConfig("rule.kind", f"is {str(kind)[:50]}: expected one of {', '.join(KINDS)}")
    return validate(KINDS[kind], content, "rule")


def pool_config(user_config: Any, known: Collection[str]) -> PoolConfig:
    """The `user_config` of a pool.

    Args:
        known: The versions in the registry.

    Raises:
        BadConfig: A key or a version is unknown.
    """
    config = validate(PoolConfig, user_config, "")
    _require_known("version", config.version, known)
    if config.patch:
        _require_known("patch.version", config.patch.version, known)
    return config


def _require_known(path: str, version: str, known: Collection[str]) -> None:
    if version not in known:
        raise BadConfig(path, f"is {version}: the registry has {', '.join(known) or 'none'}")
