"""Statistics of inference requests, in the format of Triton's statistics extension.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from serve_app.clock import now_ms

_NS_PER_MS = 1_000_000
_NOT_MEASURED = {"count": 0, "ns": 0}


@dataclass(slots=True)
class _Counts:
    last_ms: int = 0
    images: int = 0
    successes: int = 0
    success_ms: float = 0.0
    failures: int = 0
    failure_ms: float = 0.0
    model_ms: float = 0.0


class Statistics:
    """Counts the inference requests of this process by version."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, _Counts] = defaultdict(_Counts)

    def record_success(self, version: str, images: int, latency_ms: float, model_ms: float) -> None:
        """Count a request that the version answered.

        Args:
            images: The number of images in the request.
            model_ms: The network's time for the batch with these images.
        """
        counts = self._counts[version]
        counts.last_ms = now_ms()
        counts.images += images
        counts.successes += 1
        counts.success_ms += latency_ms
        counts.model_ms += model_ms

    def record_failure(self, version: str, latency_ms: float) -> None:
        """Count a request for the version that no version answered."""
        counts = self._counts[version]
        counts.last_ms = now_ms()
        counts.failures += 1
        counts.failure_ms += latency_ms

    def describe(self, model: str, version: str) -> dict[str, Any]:
        """The statistics of one version, as the extension has them.

        What the ingress does not measure is 0: executions, queues, copies of tensors, cache hits.
        """
        counts = self._counts.get(version, _Counts())
        return {
            "name": model,
            "version": version,
            "last_inference": counts.last_ms,
            "inference_count": counts.images,
            "execution_count": 0,
            "inference_stats": {
                "success": _duration(counts.successes, counts.success_ms),
                "fail": _duration(counts.failures, counts.failure_ms),
                "queue": _NOT_MEASURED,
                "compute_input": _NOT_MEASURED,
                "compute_infer": _duration(counts.successes, counts.model_ms),
                "compute_output": _NOT_MEASURED,
                "cache_hit": _NOT_MEASURED,
            },
            "batch_stats": [],
        }


def _duration(count: int, total_ms: float) -> dict[str, int]:
    return {"count": count, "ns": round(total_ms * _NS_PER_MS)}
