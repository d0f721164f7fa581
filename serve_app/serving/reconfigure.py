"""How a replica takes a new `user_config`."""

from __future__ import annotations

import asyncio
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

    Serve sends a configuration once. A rejected one is tried again until it is applied or another
    one comes, because what it names may be back: a version on a network file system, for example.

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
        self._wanted: Any = None
        self._lock = asyncio.Lock()
        self._retry: asyncio.Task[None] | None = None
        self.rejection: BadConfig | None = None
        self.config_digest = ""

    async def reconfigure(self, user_config: Any) -> None:
        """Apply a configuration. It never raises, because Serve would then stop the replica."""
        async with self._lock:
            self._wanted = user_config
            await self._try()
            self.config_digest = json_digest(user_config)

    def retry(self) -> None:
        """Try a rejected configuration again, in the background: loading may take longer than a
        health check may. To be called regularly, in the event loop."""
        if self.rejection and (self._retry is None or self._retry.done()):
            self._retry = asyncio.create_task(self._try_again())

    async def _try_again(self) -> None:
        async with self._lock:
            if self.rejection:
                await self._try()

    async def _try(self) -> None:
        """Apply the wanted configuration, or without any the last good one."""
        rejection = await self._rejection_of(self._wanted)
        if rejection is None:
            if self.rejection:
                logger.info("config.accepted", extra={"path": self.rejection.path})
            self.rejection = None
            self._has_config = True
            self._last_good.save(self._wanted)
            return
        if str(rejection) != str(self.rejection):
            logger.error(
                "config.rejected", extra={"path": rejection.path, "why": rejection.message}
            )
        if not self._has_config and (last_good := self._last_good.load()) is not None:
            self._has_config = await self._rejection_of(last_good) is None
        self.rejection = rejection

    async def _rejection_of(self, user_config: Any) -> BadConfig | None:
        """Apply a configuration; returns why it was rejected."""
        try:
            await self._apply(user_config)
        except BadConfig as exc:
            return exc
        except Exception as exc:
            rejection = BadConfig("user_config", f"is rejected: {exc!r}")
            if str(rejection) != str(self.rejection):
                logger.exception("config.failed")
            return rejection
        return None

    @property
    def rejection_content(self) -> dict[str, str] | None:
        """The path and the message of the rejection, as JSON."""
        rejection = self.rejection
        return {"path": rejection.path, "message": rejection.message} if rejection else None
