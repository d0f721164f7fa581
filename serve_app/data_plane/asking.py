"""Asks a pool, in the size of picture that its versions take."""

from __future__ import annotations

from serve_app.data_plane.pictures import Prepared
from serve_app.data_plane.pools import Answer, CannotAnswer, OtherSide, Pools
from serve_app.data_plane.versions import Versions
from serve_app.domain import Pool
from serve_app.errors import NotReady, Problem

ANY_SIDE = 64  # px


class Asker:
    """Remembers which size each pool took last."""

    def __init__(self, pools: Pools, versions: Versions) -> None:
        self._pools = pools
        self._versions = versions
        self._sides: dict[tuple[Pool, str | None], int] = {}

    async def ask(
        self, pool: Pool, version: str | None, expected: str, pictures: Prepared
    ) -> Answer:
        """The answer of a pool.

        Args:
            version: The version that shall answer; None for the one a replica is assigned.
            expected: The version that probably answers.

        Raises:
            BadPicture: A picture cannot be read.
            Problem: What stands in the way of an answer.
        """
        pixels = await pictures.at(self.side(pool, version, expected))
        reply = await self._pools.classify(pool, version, pixels)
        if isinstance(reply, OtherSide):
            # The replica was given another version since this pool was last asked. That version is
            # named now: where replicas change one by one, the next one may hold the first again.
            self._sides[pool, version] = reply.side
            pixels = await pictures.at(reply.side)
            reply = await self._pools.classify(pool, reply.version, pixels)
        if isinstance(reply, OtherSide):
            raise NotReady("the versions of the pool change just now: try again in a second")
        if isinstance(reply, CannotAnswer):
            raise NotReady(reply.why)
        return reply

    def side(self, pool: Pool, version: str | None, expected: str) -> int:
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
