"""Parses and validates the `user_config` of the deployments."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve_app.errors import BadConfig
from serve_app.rules.ab_test import ABTest
from serve_app.rules.canary import CanaryParallel, CanaryRolling
from serve_app.rules.rule import Rule, VersionName
from serve_app.rules.shadow import Shadow
from serve_app.rules.single import Single

KINDS: dict[str, type[Rule]] = {
    "single": Single,
    "canary_rolling": CanaryRolling,
    "canary_parallel": CanaryParallel,
    "ab_test": ABTest,
    "shadow": Shadow,
}
Model = TypeVar("Model", bound=BaseModel)


class Patch(BaseModel):
    """Assigns another version to the replicas with the highest ranks.

    Serve gives the ranks 0 to n - 1 to n replicas, so a pool that shrinks loses patched replicas
    first.

    Attributes:
        version: The version of the patched replicas.
        replicas: The number of patched replicas.
        of: The number of replicas of the pool.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: VersionName
    replicas: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=2)]


class PoolConfig(BaseModel):
    """The `user_config` of a pool.

    Attributes:
        version: The version that the replicas are assigned.
        patch: The replicas that are assigned another version.
        background: The networks run at low priority, so that a shadow's copies do not slow live
            requests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: VersionName
    patch: Patch | None = None
    background: bool = False

    def version_of_rank(self, rank: int) -> str:
        """The version of the replica with a rank, from 0."""
        if self.patch and rank >= self.patch.of - self.patch.replicas:
            return self.patch.version
        return self.version


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
    _check_rule(rule)
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


def validate(model: type[Model], content: Any, root: str) -> Model:
    """Validate YAML content against a pydantic model.

    Args:
        root: Prefix of the paths in errors; may be empty.

    Raises:
        BadConfig: The content is invalid; the error describes the first problem.
    """
    try:
        return model.model_validate(content)
    except ValidationError as exc:
        error = exc.errors()[0]
        keys = [str(key) for key in (root, *error["loc"]) if key not in ("", "[key]")]
        path = ".".join(keys) or "user_config"
        own = error.get("ctx", {}).get("error")
        message = str(own) if own else f"is rejected: {error['msg']}"
        raise BadConfig(path, message) from exc


def _check_rule(rule: Rule) -> None:
    """Check the conditions that involve more than one key."""
    names = list(rule.versions.items())
    if len({version for _, version in names}) < len(names):
        key, version = names[-1]
        raise BadConfig(f"rule.{key}", f"is {version}: the rule has that version already")
    if isinstance(rule, CanaryRolling) and 2 * rule.replicas > rule.of:
        raise BadConfig(
            "rule.replicas", f"is {rule.replicas} of {rule.of}: expected at most half for a canary"
        )


def _require_known(path: str, version: str, known: Collection[str]) -> None:
    if version not in known:
        raise BadConfig(path, f"is {version}: the registry has {', '.join(known) or 'none'}")
