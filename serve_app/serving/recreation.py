"""Recreate: the data plane is torn down and built anew, and the gap measured."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serve_app.deployment.address import local_url
from serve_app.deployment.apply_rule import without_data_plane
from serve_app.domain import DATA_PLANE
from serve_app.downtime import DowntimeProbe
from serve_app.serving import serve_config

POLL_S = 0.1
TORN_DOWN_S = 120.0
BUILT_S = 900.0  # a runtime environment may have to be installed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recreation is.

    Attributes:
        state: `tearing down`, `building`, `done` or `failed`.
        version: What the new data plane serves.
        from_ms, to_ms: Of the gap, milliseconds since 1970 UTC; None while it lasts.
        message: What went wrong.
    """

    state: str
    version: str
    revision: int
    from_ms: int | None = None
    to_ms: int | None = None
    downtime_s: float | None = None
    message: str = ""


async def recreate(
    document: dict[str, Any], version: str, revision: int, tell: Callable[[Progress], None]
) -> Progress:
    """Tear the data plane down and build it by a checked deployment file; the end of it.

    It is built also where the old one would not go: nobody is left without one.

    Args:
        tell: Hears of each step.
    """
    http = document["http_options"]
    meter = DowntimeProbe(local_url(http["host"], http["port"]))
    measuring = asyncio.create_task(meter.run())
    try:
        try:
            tell(Progress("tearing down", version, revision))
            await _deploy(without_data_plane(document))
            await _until_gone()
        finally:
            tell(Progress("building", version, revision))
            await _deploy(document)
        await _until_back(meter, measuring)
    except Exception as exc:
        logger.exception("recreate.failed")
        return Progress("failed", version, revision, message=str(exc) or type(exc).__name__)
    finally:
        measuring.cancel()
    gap = meter.gap
    assert gap is not None  # noqa: S101 it is back from one
    return Progress("done", version, revision, gap.from_ms, gap.to_ms, gap.seconds)


async def is_missing(document: dict[str, Any]) -> bool:
    """Whether Serve lacks the data plane that a deployment file has."""
    applications = {application["name"] for application in document["applications"]}
    return DATA_PLANE in applications and DATA_PLANE not in await _applications()


async def is_going() -> bool:
    """Whether Serve is about to delete the data plane: its replicas finish what they have."""
    application = (await _applications()).get(DATA_PLANE, {})
    return bool(application.get("status") == "DELETING")


async def _until_gone() -> None:
    try:
        async with asyncio.timeout(TORN_DOWN_S):
            while DATA_PLANE in await _applications():
                await asyncio.sleep(POLL_S)
    except TimeoutError as exc:
        raise RuntimeError(
            f"the old data plane was not gone after {TORN_DOWN_S:g} s; the new one is deployed over"
            " it, and nothing was measured"
        ) from exc


async def _until_back(meter: DowntimeProbe, measuring: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(BUILT_S):
            while not meter.is_back:
                if measuring.done():
                    await measuring  # raises what ended it
                await _require_hope()
                await asyncio.sleep(POLL_S)
    except TimeoutError as exc:
        raise RuntimeError(
            f"nobody was answered for {BUILT_S:g} s: serve-app revision restore puts an earlier one"
            " back"
        ) from exc


async def _require_hope() -> None:
    application = (await _applications()).get(DATA_PLANE, {})
    if application.get("status") == "DEPLOY_FAILED":
        raise RuntimeError(f"Serve could not build it: {application.get('message')}")


async def _applications() -> dict[str, Any]:
    details = await asyncio.to_thread(serve_config.details)
    return details["applications"]  # type: ignore[no-any-return]


async def _deploy(document: dict[str, Any]) -> None:
    await asyncio.to_thread(serve_config.deploy, serve_config.parse(document))
