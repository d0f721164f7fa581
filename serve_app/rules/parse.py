"""From the `user_config` of a deployment to values that are sound."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from models.validation import findings
from serve_app.errors import BadConfig
from serve_app.rules.rule import Rule, VersionName
from serve_app.rules.single import Single

Model = TypeVar("Model", bound=BaseModel)


class IngressConfig(BaseModel):
    """The `user_config` of the Ingress."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rule: Single


class PoolConfig(BaseModel):
    """The `user_config` of a pool: what its replicas are assigned."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: VersionName


def ingress_config(user_config: Any, known: Collection[str]) -> Rule:
    """The rule of an Ingress.

    Args:
        known: The versions of the registry.

    Raises:
        BadConfig: Not a rule, or it names a version that is not known.
    """
    rule = _parsed(IngressConfig, user_config).rule
    for key, version in rule.versions.items():
        _known(f"rule.{key}", version, known)
    return rule


def pool_config(user_config: Any, known: Collection[str]) -> PoolConfig:
    """What a pool is assigned.

    Raises:
        BadConfig: Unknown keys, or a version that is not known.
    """
    config = _parsed(PoolConfig, user_config)
    _known("version", config.version, known)
    return config


def _parsed(model: type[Model], user_config: Any) -> Model:
    try:
        return model.model_validate(user_config)
    except ValidationError as exc:
        path, message = findings(exc, "user_config")[0]
        raise BadConfig(path, f"is refused: {message}") from exc


def _known(path: str, version: str, known: Collection[str]) -> None:
    if version not in known:
        raise BadConfig(path, f"is {version}: the registry has {', '.join(known) or 'none'}")
