"""Parses and validates the `user_config` of the deployments."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from models.validation import Finding, describe_unknown_key, keys_at, nearest_of, quote
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
    return parse_rule(rule_of(user_config), known)


def rule_of(content: Any) -> dict[str, Any]:
    """The keys of the rule in a mapping whose only key is `rule`.

    Raises:
        BadConfig: The content is no such mapping.
    """
    if not isinstance(content, dict):
        raise BadConfig("user_config", f"is {quote(content)}: expected a mapping with the key rule")
    findings = [
        Finding(str(key), describe_unknown_key(str(key), ["rule"]))
        for key in content
        if key != "rule"
    ]
    if "rule" in content:
        rule = content["rule"]
        if not isinstance(rule, dict):
            findings.append(
                Finding("rule", f"is {quote(rule)}: expected a mapping with the key kind")
            )
    elif not any(nearest_of(str(key), ["rule"]) for key in content):
        findings.append(Finding("rule", "is missing"))
    if findings:
        raise BadConfig.of(findings)
    return dict(content["rule"])


def parse_rule(content: Any, known: Collection[str]) -> Rule:
    """The rule of a YAML mapping.

    Args:
        known: The versions in the registry.

    Raises:
        BadConfig: The content is not a rule, or names an unknown version.
    """
    rule = read_rule(content)
    findings = [
        finding
        for key, version in rule.versions.items()
        if (finding := _find_unknown(f"rule.{key}", version, known))
    ]
    if findings:
        raise BadConfig.of(findings)
    return rule


def read_rule(content: Any) -> Rule:
    """The rule of an earlier epoch; its versions need not be in the registry any more.

    Raises:
        BadConfig: The content is not a rule.
    """
    if not isinstance(content, dict):
        raise BadConfig("rule", f"is {quote(content)}: expected a mapping with the key kind")
    kind = content.get("kind")
    if isinstance(kind, str) and kind in KINDS:
        return validate(KINDS[kind], content, "rule")
    expected = f"expected one of {', '.join(KINDS)}"
    if "kind" in content:
        nearest = nearest_of(kind, list(KINDS)) if isinstance(kind, str) else None
        hint = f"; did you mean {nearest}?" if nearest else ""
        raise BadConfig("rule.kind", f"is {quote(kind)}: {expected}{hint}")
    keys = list(dict.fromkeys(key for rule in KINDS.values() for key in keys_at(rule, ())))
    unknown = [str(key) for key in content if key not in keys]
    findings = [Finding(f"rule.{key}", describe_unknown_key(key, keys)) for key in unknown]
    if not any(nearest_of(key, keys) == "kind" for key in unknown):
        findings.append(Finding("rule.kind", f"is missing: {expected}"))
    raise BadConfig.of(findings)


def pool_config(user_config: Any, known: Collection[str]) -> PoolConfig:
    """The `user_config` of a pool.

    Args:
        known: The versions in the registry.

    Raises:
        BadConfig: A key or a version is unknown.
    """
    config = validate(PoolConfig, user_config, "")
    named = {"version": config.version}
    if config.patch:
        named["patch.version"] = config.patch.version
    findings = [
        finding for key, version in named.items() if (finding := _find_unknown(key, version, known))
    ]
    if findings:
        raise BadConfig.of(findings)
    return config


def _find_unknown(path: str, version: str, known: Collection[str]) -> Finding | None:
    if version in known:
        return None
    return Finding(path, f"is {version}: the registry has {', '.join(known) or 'none'}")
