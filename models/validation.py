"""Validation errors of pydantic as text for users."""

from __future__ import annotations

from pydantic import ValidationError


def findings(exc: ValidationError, root: str) -> list[tuple[str, str]]:
    """Errors as (path of the key, message); `root` is the path of the whole document."""
    return [
        (".".join(str(key) for key in error["loc"]) or root, error["msg"]) for error in exc.errors()
    ]


def format_findings(exc: ValidationError, root: str) -> str:
    """All errors in one line, separated by semicolons."""
    return "; ".join(f"{path}: {message}" for path, message in findings(exc, root))
