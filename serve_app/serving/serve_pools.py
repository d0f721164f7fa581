"""The pools behind Serve's handles."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from models.preprocess import Pixels
from serve_app.data_plane.batching import Batcher, Call
from serve_app.data_plane.pools import LATE_S, PoolResponse, Replica
from serve_app.domain import Pool
from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.tasks import was_cancelled, watched_when_late

CALL_TIMEOUT_S = 15.0
DESCRIBE_TIMEOUT_S = 2.0

logger = logging.getLogger(__name__)


class ServePools:
    """Implements `serve_app.data_plane.pools.Pools`."""

    def __init__(self, handles: dict[Pool, DeploymentHandle[Any]]) -> None:
        self._handles = handles
        self._looking = {pool: asyncio.Lock() for pool in handles}
        self._batchers: dict[tuple[Pool, str | None], Batcher] = {}

    async def classify(self, pool: Pool, version: str | None, pixels: Pixels) -> PoolResponse:
        """See `Pools.classify`."""
        key = (pool, version)
        if key not in self._batchers:
            self._batchers[key] = Batcher(self._caller(pool, version))
        return await self._batchers[key].classify(pixels)

    async def replicas(self, pool: Pool | None = None) -> list[Replica]:
        """See `Pools.replicas`."""
        asked = [pool] if pool else self._handles
        found = await asyncio.gather(*map(self._describe, asked))
        return [replica for replicas in found for replica in replicas]

    def _caller(self, pool: Pool, version: str | None) -> Call:
        # Serve's default, cloudpickle, takes thrice as long for arrays and our own values.
        handle = self._handles[pool].options(
            request_serialization="pickle", response_serialization="pickle"
        )
        if version is not None:
            handle = handle.options(multiplexed_model_id=version)
        classify = handle.classify  # each look-up would make another handle

        async def call(pixels: Pixels) -> PoolResponse:
            try:
                async with self._deadline(pool):
                    reply: PoolResponse = await classify.remote(pixels)
                    return reply
            except BackPressureError as exc:
                raise Busy(f"{pool.value} is full: try again in a second") from exc
            except (DeploymentUnavailableError, RayActorError) as exc:
                raise NotReady(f"{pool.value} cannot be reached: try again in a second") from exc
            except Problem:
                raise
            except Exception as exc:
                logger.exception("call.failed", extra={"pool": pool.value})
                raise Problem(f"{pool.value} failed ({type(exc).__name__}): try again") from exc

        return call

    @contextlib.asynccontextmanager
    async def _deadline(self, pool: Pool) -> AsyncIterator[None]:
        """Bounds the time of a call.

        Raises:
            TooSlow: It takes longer than `CALL_TIMEOUT_S`.
            NotReady: The pool was deleted meanwhile, so that no reply will come: Serve would look
                for a replica for as long as the call waits.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + CALL_TIMEOUT_S
        deadline = asyncio.timeout_at(ends)

        async def end_if_deleted() -> None:
            await self._until_deleted(pool)
            deadline.reschedule(loop.time())

        with watched_when_late(LATE_S, end_if_deleted):
            try:
                async with deadline:
                    yield
            except TimeoutError as exc:
                if not deadline.expired():
                    raise
                if deadline.when() != ends:
                    raise NotReady(
                        f"{pool.value} is being torn down: try again in a minute"
                    ) from exc
                raise TooSlow(
                    f"{pool.value} did not answer within {CALL_TIMEOUT_S:g} s: try again"
                ) from exc

    async def _until_deleted(self, pool: Pool) -> None:
        """Until Serve rejects a call at once; of all who wait for that, one asks at a time."""
        while True:
            async with self._looking[pool]:
                try:
                    async with asyncio.timeout(LATE_S):
                        await self._handles[pool].describe.remote()
                except DeploymentUnavailableError:
                    return
                except (Exception, asyncio.CancelledError):
                    if was_cancelled():
                        raise
                await asyncio.sleep(LATE_S)

    async def _describe(self, pool: Pool) -> list[Replica]:
        asked = self._handles[pool].broadcast("describe")
        try:
            # Each is waited for alone: Serve's `results_async` has all of them, or none.
            replies = await asyncio.wait_for(
                asked._fetch_replica_results_async(), DESCRIBE_TIMEOUT_S
            )
        except (TimeoutError, DeploymentUnavailableError, RayError):
            return []
        described = await asyncio.gather(
            *(
                asyncio.wait_for(reply.get_async(), DESCRIBE_TIMEOUT_S)  # type: ignore[no-untyped-call]
                for reply in replies
            ),
            return_exceptions=True,
        )
        return [replica for replica in described if isinstance(replica, Replica)]
