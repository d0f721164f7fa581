"""The last configuration that a deployment accepted, kept so that a bad one can harm nobody:
replicas that are born under it start with the last good one."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class LastGoodConfig:
    """One deployment's last good `user_config`, in a file of the home directory."""

    def __init__(self, folder: Path, application: str, deployment: str) -> None:
        self._path = folder / f"{application}.{deployment}.json"

    def save(self, user_config: Any) -> None:
        """Keep it; several replicas may keep the same one at once.

        A disk that is full makes no configuration a bad one: that is only logged.
        """
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            draft.write_text(json.dumps(user_config, sort_keys=True))
            os.replace(draft, self._path)
        except OSError:
            logger.exception("config.not_kept", extra={"path": str(self._path)})
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    def load(self) -> Any | None:
        """The last good one, or None."""
        try:
            return json.loads(self._path.read_text())
        except (OSError, ValueError):
            return None
