"""The token of Ray's dashboard and processes. Who has it can run code as the user of the service.

Ray creates the file at its first start, readable by all users of the machine.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from serve_app.files import creating

VARIABLE = "RAY_AUTH_TOKEN"  # takes precedence over the file
PATH_VARIABLE = "RAY_AUTH_TOKEN_PATH"


def token_path() -> Path:
    """The file with the token."""
    return Path(os.environ.get(PATH_VARIABLE) or Path.home() / ".ray" / "auth_token")


def read_token() -> str | None:
    """The token; None if there is none yet."""
    if token := os.environ.get(VARIABLE):
        return token
    return token_path().read_text().strip() if token_path().exists() else None


def is_readable_by_others() -> bool:
    """Whether other users can read the file."""
    return token_path().exists() and bool(token_path().stat().st_mode & 0o077)


def protect() -> bool:
    """Create the file before Ray does, or hide it from other users; whether they could read it.

    A file that belongs to another user, or that cannot be created, stays as it is.
    """
    path = token_path()
    if not path.exists() and not os.environ.get(VARIABLE) and not os.environ.get(PATH_VARIABLE):
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with creating(path) as draft:
                draft.write_text(secrets.token_hex(32))
        return False
    if not is_readable_by_others():
        return False
    with suppress(OSError):
        path.chmod(0o600)
        return True
    return False
