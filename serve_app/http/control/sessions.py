"""The sessions of signed-in browsers."""

from __future__ import annotations

import json
import secrets
import time
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path

from serve_app.files import replacing

LIFETIME_S = 12 * 3600


class Role(StrEnum):
    """What a secret opens."""

    OPERATOR = "operator"  # everything
    REVIEWER = "reviewer"  # the reviews


class Sessions:
    """One file per session, so that the replicas of `ControlApi` share them and a sign-out ends
    them.

    The name of a file is a keyed hash of the session id: who reads the folder cannot sign in.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        """
        Args:
            folder: An existing private folder.
            key: Of the tokens, at most 64 bytes: another token ends all sessions.
        """
        self._folder = folder
        self._key = key

    def start(self, role: Role) -> str:
        """Start a session; returns its id. Removes the sessions that have expired."""
        for path in self._folder.glob("[0-9a-f]*"):
            if _read(path) is None:
                path.unlink(missing_ok=True)
        session_id = secrets.token_hex(32)
        content = {"role": role, "expires_s": int(time.time()) + LIFETIME_S}
        with replacing(self._path(session_id)) as draft:
            draft.write_text(json.dumps(content))
        return session_id

    def role(self, session_id: str) -> Role | None:
        """The role of a session; None if there is none with the id, or it has expired."""
        return _read(self._path(session_id))

    def end(self, session_id: str) -> None:
        """End a session, if there is one with the id."""
        self._path(session_id).unlink(missing_ok=True)

    def _path(self, session_id: str) -> Path:
        name = blake2b(
            session_id.encode(errors="replace"), key=self._key, digest_size=32, person=b"session"
        )
        return self._folder / name.hexdigest()


def _read(path: Path) -> Role | None:
    try:
        content = json.loads(path.read_text())
        return Role(content["role"]) if content["expires_s"] > time.time() else None
    except (OSError, ValueError, KeyError, TypeError):  # missing, or damaged
        return None
