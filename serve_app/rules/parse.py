"""From the `user_config` of a deployment to values that are sound."""

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
    """What the replicas of the highest ranks are assigned instead: should the pool shrink, it
    shrinks towards its own version.

    Attributes:
        replicas: How many of them.
        of: How many the pool has; ranks count from 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: VersionName
    replicas: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=2)]


class PoolConfig(BaseModel):
    """The `user_config` of a pool: what its replicas are assigned.

    Attributes:
        background: Its networks run at low priority, so that live answers go before copies.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: VersionName
    patch: Patch | None = None
    background: bool = False

    def assigned(self, rank: int) -> str:
        """The version of the replica with a rank."""
        if self.patch and rank >= self.patch.of - self.patch.replicas:
            return self.patch.version
        return self.version


def ingress_config(user_config: Any, known: Collection[str]) -> Rule:
    """The rule of an Ingress: the one key, `rule`, of its `user_config`.

    Args:
        known: The versions of the registry.

    Raises:
        BadConfig: Not a rule, or it names a version that is not known.
    """
    if not isinstance(user_config, dict):
        raise BadConfig("user_config", "is rejected: expected a mapping with the key rule")
    for key in user_config:
        if key != "rule":
            raise BadConfig(str(key), "is rejected: the only key is rule")
    return parse_rule(user_config.get("rule"), known)


def parse_rule(content: Any, known: Collection[str]) -> Rule:
    """A rule, as in the YAML.

    Raises:
        BadConfig: See `ingress_config`.
    """
    rule = read_rule(content)
    for key, version in rule.versions.items():
        _known(f"rule.{key}", version, known)
    _sound(rule)
    return rule


def read_rule(content: Any) -> Rule:
    """A rule that was in force once, whatever the registry holds today.

    Raises:
        BadConfig: Not a rule.
    """
    if not isinstance(content, dict):
        raise BadConfig("rule", "is rejected: expected a mapping with the key kind")
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadConfig("rule.kind", f"is {str(kind)[:50]}: expected one of {', '.join(KINDS)}")
    return parsed(KINDS[kind], content, "rule")


def pool_config(user_config: Any, known: Collection[str]) -> PoolConfig:
    """What a pool is assigned.

    Raises:
        BadConfig: Unknown keys, or a version that is not known.
    """
    config = parsed(PoolConfig, user_config, "")
    _known("version", config.version, known)
    if config.patch:
        _known("patch.version", config.patch.version, known)
    return config


def _sound(rule: Rule) -> None:
    """What no single key can tell."""
    names = list(rule.versions.items())
    if len({version for _, version in names}) < len(names):
        key, version = names[-1]
        raise BadConfig(f"rule.{key}", f"is {version}: the rule has that version already")
    if isinstance(rule, CanaryRolling) and 2 * rule.replicas > rule.of:
        raise BadConfig(
            "rule.replicas", f"is {rule.replicas} of {rule.of}: a canary never exceeds half of them"
        )


def parsed(model: type[Model], content: Any, root: str) -> Model:
    """A model of what somebody wrote.

    Args:
        root: Where the paths of rejections begin; may be empty.

    Raises:
        BadConfig: The first thing that is wrong with it.
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


def _known(path: str, version: str, known: Collection[str]) -> None:
    if version not in known:
        raise BadConfig(path, f"is {version}: the registry has {', '.join(known) or 'none'}")
