"""How a replica takes a new `user_config`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from serve_app.deployment.last_good_config import LastGoodConfig
from serve_app.digest import json_digest
from serve_app.errors import BadConfig

logger = logging.getLogger(__name__)


class Reconfiguration:
    """Applies configurations. A rejected one leaves the present one in force; a new replica uses
    its deployment's last good one.

    Attributes:
        rejection: Of the last configuration, if it was rejected.
        config_digest: Of the last configuration; see `serve_app.digest`.
    """

    def __init__(self, last_good: LastGoodConfig, apply: Callable[[Any], Awaitable[None]]) -> None:
        """
        Args:
            apply: Puts a configuration in force, or raises and leaves the present one in force.
        """
        self._last_good = last_good
        self._apply = apply
        self._has_config = False
        self.rejection: BadConfig | None = None
        self.config_digest = ""

    async def reconfigure(self, user_config: Any) -> None:
        """Apply a configuration. It never raises, because Serve would then stop the replica."""
        try:
            await self._apply(user_config)
        except BadConfig as exc:
            await self._reject(exc)
        except Exception as exc:
            logger.exception("config.failed")
            await self._reject(BadConfig("user_config", f"is rejected: {exc!r}"))
        else:
            self.rejection = None
            self._has_config = True
            self._last_good.save(user_config)
        self.config_digest = json_digest(user_config)

    async def _reject(self, rejection: BadConfig) -> None:
        logger.error("config.rejected", extra={"path": rejection.path, "why": rejection.message})
        if not self._has_config and (last_good := self._last_good.load()) is not None:
            try:
                await self._apply(last_good)
                self._has_config = True
            except Exception:
                logger.exception("last_good_config.failed")
        self.rejection = rejection

    @property
    def rejection_content(self) -> dict[str, str] | None:
        """The path and the message of the rejection, as JSON."""
        rejection = self.rejection
        return {"path": rejection.path, "message": rejection.message} if rejection else None
