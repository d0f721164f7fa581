"""Recreation: deletes the data plane, deploys it again and measures the downtime."""

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
DELETE_TIMEOUT_S = 120.0
BUILD_TIMEOUT_S = 900.0  # a runtime environment may have to be installed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a recreation.

    Attributes:
        state: `tearing down`, `building`, `done` or `failed`.
        version: The version of the new data plane.
        from_ms, to_ms: Of the downtime, milliseconds since 1970 UTC; None while it lasts.
        message: The cause of a failure.
    """

    state: str
    version: str
    revision: int
    from_ms: int | None = None
    to_ms: int | None = None
    downtime_s: float | None = None
    message: str = ""


async def recreate(
    document: dict[str, Any],
    version: str,
    revision: int,
    on_progress: Callable[[Progress], None],
) -> Progress:
    """Delete the data plane and deploy it from a checked deployment file; the final progress.

    The new data plane is deployed even if the old one is not deleted in time.

    Args:
        on_progress: Called at each step.
    """
    http = document["http_options"]
    probe = DowntimeProbe(local_url(http["host"], http["port"]))
    probing = asyncio.create_task(probe.run())
    try:
        try:
            on_progress(Progress("tearing down", version, revision))
            await _deploy(without_data_plane(document))
            await _wait_until_deleted()
        finally:
            on_progress(Progress("building", version, revision))
            await _deploy(document)
        await _wait_until_back(probe, probing)
    except Exception as exc:
        logger.exception("recreation.failed")
        return Progress("failed", version, revision, message=str(exc) or type(exc).__name__)
    finally:
        probing.cancel()
    downtime = probe.downtime
    assert downtime is not None  # noqa: S101 `is_back` implies it
    return Progress("done", version, revision, downtime.from_ms, downtime.to_ms, downtime.seconds)


async def is_missing(document: dict[str, Any]) -> bool:
    """Whether Serve lacks the data plane that a deployment file has."""
    applications = {application["name"] for application in document["applications"]}
    return DATA_PLANE in applications and DATA_PLANE not in await _applications()


async def is_being_deleted() -> bool:
    """Whether Serve is deleting the data plane; its replicas still finish their requests."""
    application = (await _applications()).get(DATA_PLANE, {})
    return bool(application.get("status") == "DELETING")


async def _wait_until_deleted() -> None:
    try:
        async with asyncio.timeout(DELETE_TIMEOUT_S):
            while DATA_PLANE in await _applications():
                await asyncio.sleep(POLL_S)
    except TimeoutError as exc:
        raise RuntimeError(
            f"the old data plane was not deleted within {DELETE_TIMEOUT_S:g} s: the new one is"
            " deployed over it, without measuring the downtime"
        ) from exc


async def _wait_until_back(probe: DowntimeProbe, probing: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(BUILD_TIMEOUT_S):
            while not probe.is_back:
                if probing.done():
                    await probing  # raises its error
                await _check_deployable()
                await asyncio.sleep(POLL_S)
    except TimeoutError as exc:
        raise RuntimeError(
            f"the data plane was not ready within {BUILD_TIMEOUT_S:g} s: serve-app revision restore"
            " goes back to an earlier revision"
        ) from exc


async def _check_deployable() -> None:
    application = (await _applications()).get(DATA_PLANE, {})
    if application.get("status") == "DEPLOY_FAILED":
        raise RuntimeError(f"Serve could not deploy the data plane: {application.get('message')}")


async def _applications() -> dict[str, Any]:
    details = await asyncio.to_thread(serve_config.details)
    return details["applications"]  # type: ignore[no-any-return]


async def _deploy(document: dict[str, Any]) -> None:
    await asyncio.to_thread(serve_config.deploy, serve_config.parse(document))
