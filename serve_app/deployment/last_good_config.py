"""Stores the last configuration that a deployment accepted.

A replica that starts under a rejected configuration uses the stored one.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from serve_app.files import replacing

logger = logging.getLogger(__name__)


class LastGoodConfig:
    """The last good `user_config` of one deployment, in a JSON file of the home directory."""

    def __init__(self, folder: Path, application: str, deployment: str) -> None:
        self._path = folder / f"{application}.{deployment}.json"

    def save(self, user_config: Any) -> None:
        """Store a configuration; several replicas may do so at the same time.

        A failed write is logged, not raised: the configuration is in force all the same.
        """
        try:
            with replacing(self._path) as draft:
                draft.write_text(json.dumps(user_config, sort_keys=True))
        except OSError:
            logger.exception("config_save.failed", extra={"path": str(self._path)})

    def load(self) -> Any | None:
        """The stored configuration; None if there is none that can be read."""
        try:
            return json.loads(self._path.read_text())
        except (OSError, ValueError):
            return None
