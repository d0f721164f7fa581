"""The home directory: `SERVE_APP_HOME`, by default `~/.serve-app`; private to its owner.

token            the bearer token of the control plane; the console's sign-in uses it too
reviewer.token   a token that opens the reviews alone
sessions/        the sessions of signed-in browsers
hash.key         the key of the user and session hashes, and of the prediction ids
image.key        the encryption key of the kept images; without it they cannot be read
serve-app.db     the store, unless SERVE_APP_DATABASE_URL is set
accepted/        the last configuration that each deployment accepted
experiments/     the terms of every experiment so far
spool/           batches that could not be delivered to the store in time
exports/         tables that are being exported
run/             the processes and files of the last start
"""

from __future__ import annotations

import math
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from serve_app.errors import BadHome
from serve_app.files import creating

HOME_VARIABLE = "SERVE_APP_HOME"
DATABASE_VARIABLE = "SERVE_APP_DATABASE_URL"
DATABASE_LIMIT_VARIABLE = "SERVE_APP_DATABASE_MAX_GIB"
DATABASE_LIMIT_GIB = 20.0


@dataclass(frozen=True)
class Home:
    """An existing, private home directory."""

    path: Path

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the store."""
        return os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{self.path / 'serve-app.db'}"

    @property
    def max_database_bytes(self) -> int:
        """Above this size the oldest rows of the store are removed before their time.

        Raises:
            BadHome: The variable is not a number above 0.
        """
        text = os.environ.get(DATABASE_LIMIT_VARIABLE) or str(DATABASE_LIMIT_GIB)
        try:
            limit_gib = float(text)
        except ValueError:
            limit_gib = math.nan
        if not 0 < limit_gib < math.inf:
            raise BadHome(
                f"{DATABASE_LIMIT_VARIABLE} is {text[:50]}: expected the largest size of the"
                " database in GiB, such as 20"
            )
        return int(limit_gib * 2**30)

    @property
    def token_path(self) -> Path:
        return self.path / "token"

    @property
    def token(self) -> str:
        return self._read_or_create_secret(self.token_path)

    @property
    def reviewer_token_path(self) -> Path:
        return self.path / "reviewer.token"

    @property
    def reviewer_token(self) -> str:
        return self._read_or_create_secret(self.reviewer_token_path)

    @property
    def hash_key(self) -> bytes:
        """32 bytes."""
        return bytes.fromhex(self._read_or_create_secret(self.path / "hash.key"))

    @property
    def image_key(self) -> bytes:
        """32 bytes."""
        return bytes.fromhex(self._read_or_create_secret(self.path / "image.key"))

    def folder(self, name: str) -> Path:
        """A folder of the home directory, mode 0700; created if missing."""
        folder = self.path / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _read_or_create_secret(self, path: Path) -> str:
        """64 random hex digits, created on first use; concurrent processes get the same one.

        Raises:
            BadHome: Other users can read the file, or its content is damaged.
        """
        if not path.exists():
            with creating(path) as draft:
                draft.write_text(secrets.token_hex(32) + "\n")
        if path.stat().st_mode & 0o077:
            raise BadHome(f"{path} is readable by other users: chmod 600 {path}, or remove it")
        secret = path.read_text().strip()
        if len(secret) != 64 or set(secret) - set("0123456789abcdef"):
            raise BadHome(f"{path} does not hold 64 hex digits: remove it and start again")
        return secret


def open_home() -> Home:
    """Open the home directory; create it if missing.

    Raises:
        BadHome: It cannot be created, or other users can access it.
    """
    path = Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".serve-app").absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise BadHome(f"{path} cannot be created ({exc.strerror}): set {HOME_VARIABLE}") from exc
    if path.stat().st_mode & 0o077:
        raise BadHome(f"{path} is accessible to other users: chmod 700 {path}")
    return Home(path)
