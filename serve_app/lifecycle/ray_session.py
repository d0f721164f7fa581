"""Ray's session folders: logs and sockets of one start each. Ray deletes none of them.

The folder of the last start stays, for its logs. The one before is deleted when a service stops.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from serve_app.home import Home

RECORD = "session"  # a file of the folder `run`: the path of the last start's folder
DEFAULT_ROOT = "/tmp"  # noqa: S108 Ray's
PREFIX = "session_"


def keep_only(service_pid: int, home: Home) -> None:
    """Keep the folder of the start that just ended, and delete the one of the start before.

    Args:
        service_pid: The process id of `serve run`, with which Ray ends the name of its folder.
    """
    folders = _root().glob(f"{PREFIX}*_{service_pid}")
    present = max(folders, key=lambda folder: folder.stat().st_mtime, default=None)
    if present is None:
        return
    record = home.folder("run") / RECORD
    with suppress(OSError):  # a full disk; another user's folder
        previous = Path(record.read_text()) if record.exists() else present
        record.write_text(str(present))
        if previous != present and _is_session(previous):
            shutil.rmtree(previous, ignore_errors=True)


def _root() -> Path:
    return Path(os.environ.get("RAY_TMPDIR") or DEFAULT_ROOT) / "ray"


def _is_session(folder: Path) -> bool:
    return folder.parent == _root() and folder.name.startswith(PREFIX) and not folder.is_symlink()
