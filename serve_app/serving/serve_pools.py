"""`ServePools`: the pools behind Serve's deployment handles."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from models.preprocess import Pixels
from serve_app.data_plane.batching import Batcher, Call
from serve_app.data_plane.pools import LATE_S, PoolResponse, Replica
from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.rules.plan import Pool
from serve_app.serving.describe import describe_replicas
from serve_app.tasks import background_task_after, was_cancelled

CALL_TIMEOUT_S = 15.0

logger = logging.getLogger(__name__)


class ServePools:
    """Implements `serve_app.data_plane.pools.Pools` with deployment handles."""

    def __init__(self, handles: dict[Pool, DeploymentHandle[Any]]) -> None:
        self._handles = handles
        self._describe_locks = {pool: asyncio.Lock() for pool in handles}
        self._batchers: dict[tuple[Pool, str | None], Batcher] = {}

    async def classify(self, pool: Pool, version: str | None, pixels: Pixels) -> PoolResponse:
        key = (pool, version)
        if key not in self._batchers:
            self._batchers[key] = Batcher(self._create_call(pool, version))
        return await self._batchers[key].classify(pixels)

    async def replicas(self, pool: Pool | None = None) -> list[Replica]:
        pools = [pool] if pool else self._handles
        described = await asyncio.gather(
            *(describe_replicas(self._handles[pool], Replica) for pool in pools)
        )
        return [replica for replicas in described for replica in replicas]

    def _create_call(self, pool: Pool, version: str | None) -> Call:
        # Serve's default, cloudpickle, takes three times as long for these types.
        handle = self._handles[pool].options(
            request_serialization="pickle", response_serialization="pickle"
        )
        if version is not None:
            handle = handle.options(multiplexed_model_id=version)
        classify = handle.classify  # each attribute access would create a handle

        async def call(pixels: Pixels) -> PoolResponse:
            try:
                async with self._deadline(pool):
                    response: PoolResponse = await classify.remote(pixels)
                    return response
            except BackPressureError as exc:
                raise Busy(f"{pool.value} is full: try again in a second") from exc
            except (DeploymentUnavailableError, RayActorError) as exc:
                raise NotReady(f"{pool.value} cannot be reached: try again in a second") from exc
            except Problem:
                raise
            except Exception as exc:
                logger.exception("pool_call.failed", extra={"pool": pool.value})
                raise Problem(f"{pool.value} failed ({type(exc).__name__}): try again") from exc

        return call

    @contextlib.asynccontextmanager
    async def _deadline(self, pool: Pool) -> AsyncIterator[None]:
        """Limit the time of a call.

        Raises:
            TooSlow: The call took longer than `CALL_TIMEOUT_S`.
            NotReady: The pool was deleted during the call. Serve would search for a replica until
                the timeout.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + CALL_TIMEOUT_S
        deadline = asyncio.timeout_at(ends_at)

        async def end_if_deleted() -> None:
            await self._wait_until_deleted(pool)
            deadline.reschedule(loop.time())

        with background_task_after(LATE_S, end_if_deleted):
            try:
                async with deadline:
                    yield
            except TimeoutError as exc:
                if not deadline.expired():
                    raise
                if deadline.when() != ends_at:
                    raise NotReady(
                        f"{pool.value} is being torn down: try again in a minute"
                    ) from exc
                raise TooSlow(
                    f"{pool.value} did not answer within {CALL_TIMEOUT_S:g} s: try again"
                ) from exc

    async def _wait_until_deleted(self, pool: Pool) -> None:
        """Wait until Serve rejects a call at once; probes with one call at a time per pool."""
        while True:
            async with self._describe_locks[pool]:
                try:
                    async with asyncio.timeout(LATE_S):
                        await self._handles[pool].describe.remote()
                except DeploymentUnavailableError:
                    return
                except (Exception, asyncio.CancelledError):
                    if was_cancelled():
                        raise
                await asyncio.sleep(LATE_S)
