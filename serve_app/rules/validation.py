"""Validates YAML content against pydantic models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from models.validation import Finding, find, join_path, quote
from serve_app.errors import BadConfig

VersionName = Annotated[str, Field(pattern=r"^v[0-9]+$")]
Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], content: Any, root: str) -> Model:
    """Validate YAML content against a pydantic model.

    A validator of the model that concerns several keys raises `BadConfig` with the path of one.

    Args:
        root: Prefix of the paths in errors; may be empty.

    Raises:
        BadConfig: The content is invalid; the error has all problems.
    """
    if not isinstance(content, dict):
        raise BadConfig(
            root or "user_config", f"is {quote(content)}: expected a mapping of keys and values"
        )
    try:
        return model.model_validate(content)
    except ValidationError as exc:
        findings = list(_with_root(_find(exc, model), root))
        raise BadConfig.of(findings) from exc


def _find(exc: ValidationError, model: type[BaseModel]) -> Iterator[Finding]:
    errors = exc.errors()
    yield from find((e for e in errors if _several_keys(e) is None), "", model)
    for error in errors:
        if conflict := _several_keys(error):
            for finding in conflict.findings:
                yield Finding(join_path((*error["loc"], finding.path)), finding.message)


def _several_keys(error: Any) -> BadConfig | None:
    """The error of a validator that concerns several keys."""
    own = error.get("ctx", {}).get("error")
    return own if isinstance(own, BadConfig) else None


def _with_root(findings: Iterator[Finding], root: str) -> Iterator[Finding]:
    for finding in findings:
        yield Finding(join_path(key for key in (root, finding.path) if key), finding.message)
