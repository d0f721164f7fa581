"""Calls the candidate, for the requests of a split and for the copies of a shadow."""

from __future__ import annotations

from serve_app.data_plane.circuit_breaker import CandidateBreaker
from serve_app.data_plane.images import PreparedImages
from serve_app.data_plane.pool_client import PoolClient
from serve_app.data_plane.pools import Prediction
from serve_app.errors import NotReady, TooSlow
from serve_app.rules.rule import Candidate


class CandidateClient:
    """Calls the candidate and records each result in its circuit breaker.

    Attributes:
        breaker: To be asked before a call whether it allows one.
    """

    def __init__(self, pool_client: PoolClient, breaker: CandidateBreaker) -> None:
        self._pool_client = pool_client
        self.breaker = breaker

    async def classify(
        self, candidate: Candidate, version: str | None, timeout_s: float, images: PreparedImages
    ) -> Prediction:
        """The prediction of the candidate.

        Args:
            version: The version that the call names; None in a pool of one version.

        Raises:
            TooSlow: No response within `timeout_s`.
            NotReady: There is no replica, or it has another version.
            UnusableImage: An image cannot be read.
            Problem: The pool cannot predict.
        """
        try:
            async with self.breaker.deadline(candidate, timeout_s):
                prediction = await self._pool_client.classify(
                    candidate.pool, version, candidate.version, images
                )
            if prediction.version != candidate.version:
                raise NotReady(
                    f"{candidate.pool.value} serves {prediction.version}, not {candidate.version}"
                )
        except TooSlow:
            self.breaker.record_timeout(candidate)
            raise
        except NotReady:
            self.breaker.record_unreachable(candidate)
            raise
        self.breaker.record_success(candidate)
        return prediction
