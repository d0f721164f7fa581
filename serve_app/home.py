"""The home directory: `SERVE_APP_HOME`, by default `~/.serve-app`; nobody else may read it.

token            what changes state is behind it; the console signs in with it
hash.key         keys the hashes of users and sessions, and the prediction ids
image.key      seals the images that a shadow keeps; without it nobody can see them
serve-app.db     the store, unless SERVE_APP_DATABASE_URL names another
accepted/        the last configuration that each deployment accepted
experiments/     the terms of each experiment that was ever used
spool/           exposures and feedback that could not be delivered
exports/         tables on their way to who asked for them
run/             what the last start started
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from serve_app.errors import BadHome

HOME_VARIABLE = "SERVE_APP_HOME"
DATABASE_VARIABLE = "SERVE_APP_DATABASE_URL"


@dataclass(frozen=True)
class Home:
    """A home directory that exists and is private."""

    path: Path

    @property
    def database_url(self) -> str:
        """SQLAlchemy's URL of the store."""
        return os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{self.path / 'serve-app.db'}"

    @property
    def token_path(self) -> Path:
        return self.path / "token"

    @property
    def token(self) -> str:
        return self._secret(self.token_path)

    @property
    def hash_key(self) -> bytes:
        """32 bytes."""
        return bytes.fromhex(self._secret(self.path / "hash.key"))

    @property
    def image_key(self) -> bytes:
        """32 bytes."""
        return bytes.fromhex(self._secret(self.path / "image.key"))

    def folder(self, name: str) -> Path:
        """A folder of the home, created when missing, mode 0700."""
        folder = self.path / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _secret(self, path: Path) -> str:
        """64 hex digits, drawn on first use; several processes at once agree on one."""
        if not path.exists():
            draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            draft.touch(mode=0o600, exist_ok=False)
            draft.write_text(secrets.token_hex(32) + "\n")
            try:
                os.link(draft, path)  # unlike a rename, fails when another process was first
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        if path.stat().st_mode & 0o077:
            raise BadHome(f"{path} can be read by others: chmod 600 {path}, or remove it")
        secret = path.read_text().strip()
        if len(secret) != 64 or set(secret) - set("0123456789abcdef"):
            raise BadHome(f"{path} does not hold 64 hex digits: remove it and start again")
        return secret


def open_home() -> Home:
    """The home directory, created when missing.

    Raises:
        BadHome: It cannot be created, or others may enter it.
    """
    path = Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".serve-app").absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise BadHome(f"{path} cannot be created ({exc.strerror}): set {HOME_VARIABLE}") from exc
    if path.stat().st_mode & 0o077:
        raise BadHome(f"{path} is open to others: chmod 700 {path}")
    return Home(path)
