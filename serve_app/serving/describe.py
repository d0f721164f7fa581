"""Asks all replicas of a deployment to describe themselves."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from ray.exceptions import RayError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

T = TypeVar("T")

DESCRIBE_TIMEOUT_S = 2.0


async def describe_replicas(handle: DeploymentHandle[Any], kind: type[T]) -> list[T]:
    """The results of the method `describe` of the replicas that answer in time."""
    response = handle.broadcast("describe")
    try:
        # Serve's `results_async` fails if one replica fails, so each is awaited separately.
        results = await asyncio.wait_for(
            response._fetch_replica_results_async(), DESCRIBE_TIMEOUT_S
        )
    except (TimeoutError, DeploymentUnavailableError, RayError):
        return []
    described = await asyncio.gather(
        *(
            asyncio.wait_for(result.get_async(), DESCRIBE_TIMEOUT_S)  # type: ignore[no-untyped-call]
            for result in results
        ),
        return_exceptions=True,
    )
    return [replica for replica in described if isinstance(replica, kind)]
