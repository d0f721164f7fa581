"""Validates YAML content against pydantic models."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from serve_app.errors import BadConfig

VersionName = Annotated[str, Field(pattern=r"^v[0-9]+$")]
Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], content: Any, root: str) -> Model:
    """Validate YAML content against a pydantic model.

    A validator of the model that concerns several keys raises `BadConfig` with the path of one.

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
        match error.get("ctx", {}).get("error"):
            case BadConfig(path=path, message=message):
                keys.append(path)
            case None:
                message = f"is rejected: {error['msg']}"
            case own:
                message = str(own)
        raise BadConfig(".".join(keys) or "user_config", message) from exc
