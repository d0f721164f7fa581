"""Asks a pool, in the size of image that its versions take."""

from __future__ import annotations

from serve_app.data_plane.card_cache import CardCache
from serve_app.data_plane.images import PreparedImages
from serve_app.data_plane.pools import Pools, Prediction, Unavailable, WrongInputSize
from serve_app.domain import Pool
from serve_app.errors import NotReady, Problem

ANY_SIDE = 64  # px


class PoolClient:
    """Remembers which size each pool took last."""

    def __init__(self, pools: Pools, versions: CardCache) -> None:
        self._pools = pools
        self._versions = versions
        self._sides: dict[tuple[Pool, str | None], int] = {}

    async def classify(
        self, pool: Pool, version: str | None, expected: str, images: PreparedImages
    ) -> Prediction:
        """The answer of a pool.

        Args:
            version: The version that shall answer; None for the one a replica is assigned.
            expected: The version that probably answers.

        Raises:
            UnusableImage: An image cannot be read.
            Problem: What stands in the way of an answer.
        """
        pixels = await images.at(self.input_side(pool, version, expected))
        reply = await self._pools.classify(pool, version, pixels)
        if isinstance(reply, WrongInputSize):
            # The replica was given another version since this pool was last asked. That version is
            # named now: where replicas change one by one, the next one may hold the first again.
            self._sides[pool, version] = reply.side
            pixels = await images.at(reply.side)
            reply = await self._pools.classify(pool, reply.version, pixels)
        if isinstance(reply, WrongInputSize):
            raise NotReady("the versions of the pool change just now: try again in a second")
        if isinstance(reply, Unavailable):
            raise NotReady(reply.why)
        return reply

    def input_side(self, pool: Pool, version: str | None, expected: str) -> int:
        """The size that the pool took last; at first that of the version that is expected.

        Only a guess, so a card that cannot be read is no harm: the replica will tell.
        """
        key = (pool, version)
        if key not in self._sides:
            try:
                self._sides[key] = self._versions.card(expected).input.side
            except Problem:
                self._sides[key] = ANY_SIDE
        return self._sides[key]
