"""Sends images to a pool in the input size of its versions."""

from __future__ import annotations

from serve_app.data_plane.card_cache import CardCache
from serve_app.data_plane.images import PreparedImages
from serve_app.data_plane.pools import Pools, Prediction, Unavailable, WrongInputSize
from serve_app.errors import NotReady, Problem
from serve_app.rules.plan import Pool

DEFAULT_SIDE = 64  # px


class PoolClient:
    """Remembers the last input size of each pool."""

    def __init__(self, pools: Pools, versions: CardCache) -> None:
        self._pools = pools
        self._versions = versions
        self._sides: dict[tuple[Pool, str | None], int] = {}

    async def classify(
        self, pool: Pool, version: str | None, expected_version: str, images: PreparedImages
    ) -> Prediction:
        """The prediction of a pool.

        Args:
            version: The version that must predict; None for the one that the replica is assigned.
            expected_version: The version that probably predicts; its card gives the input size.

        Raises:
            UnusableImage: An image cannot be read.
            Problem: The pool cannot predict.
        """
        pixels = await images.pixels(self.input_side(pool, version, expected_version))
        response = await self._pools.classify(pool, version, pixels)
        if isinstance(response, WrongInputSize):
            # The replica's version has changed since the last call. The retry names that version:
            # during a rolling update the next replica may still have the previous one.
            self._sides[pool, version] = response.side
            pixels = await images.pixels(response.side)
            response = await self._pools.classify(pool, response.version, pixels)
        if isinstance(response, WrongInputSize):
            raise NotReady("the versions of the pool are changing: try again in a second")
        if isinstance(response, Unavailable):
            raise NotReady(response.message)
        return response

    def input_side(self, pool: Pool, version: str | None, expected_version: str) -> int:
        """The last input size of the pool, px; before the first call, that of `expected_version`.

        A wrong size does no harm, so a card that cannot be read is ignored: the replica responds
        with the right one.
        """
        key = (pool, version)
        if key not in self._sides:
            try:
                self._sides[key] = self._versions.card(expected_version).input.side
            except Problem:
                self._sides[key] = DEFAULT_SIDE
        return self._sides[key]
