"""What pydantic found wrong, as text for people."""

from __future__ import annotations

from pydantic import ValidationError


def findings(exc: ValidationError, root: str) -> list[tuple[str, str]]:
    """Each finding as (path to the key, what is wrong); `root` names the whole."""
    return [
        (".".join(str(key) for key in error["loc"]) or root, error["msg"]) for error in exc.errors()
    ]


def sentence(exc: ValidationError, root: str) -> str:
    """All findings in one line."""
    return "; ".join(f"{path}: {message}" for path, message in findings(exc, root))
