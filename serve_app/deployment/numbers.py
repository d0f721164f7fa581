"""Bounds of the numbers of a deployment file.

Serve takes numbers that its controller cannot keep or cannot reach: it then wedges, or no replica
starts. The bounds are far above any use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from models.validation import Finding, quote, share_hint, write_number
from serve_app.rules.pools import MAX_REPLICAS

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The bounds of a number, both included; `words` are other values that Serve takes."""

    least: float
    most: float
    is_whole: bool = False
    words: tuple[str, ...] = ()


_REPLICAS = _Bounds(0, MAX_REPLICAS, is_whole=True)
_SECONDS = _Bounds(0, _DAY_S)
_FACTOR = _Bounds(0, 1000)
_RESOURCE = _Bounds(0, 100_000)
_BOUNDS: dict[str, _Bounds] = {
    "num_replicas": _Bounds(0, MAX_REPLICAS, is_whole=True, words=("auto",)),
    "max_ongoing_requests": _Bounds(1, 100_000, is_whole=True),
    "max_queued_requests": _Bounds(-1, 1_000_000, is_whole=True),
    "graceful_shutdown_wait_loop_s": _SECONDS,
    "graceful_shutdown_timeout_s": _SECONDS,
    "health_check_period_s": _SECONDS,
    "health_check_timeout_s": _SECONDS,
    "max_replicas_per_node": _Bounds(1, 100, is_whole=True),
    "rolling_update_percentage": _Bounds(0, 1),
    "max_surge_percent": _Bounds(0, 100, is_whole=True),
    "autoscaling_config.min_replicas": _REPLICAS,
    "autoscaling_config.initial_replicas": _REPLICAS,
    "autoscaling_config.max_replicas": _Bounds(1, MAX_REPLICAS, is_whole=True),
    "autoscaling_config.target_ongoing_requests": _Bounds(0, 100_000),
    "autoscaling_config.metrics_interval_s": _SECONDS,
    "autoscaling_config.look_back_period_s": _SECONDS,
    "autoscaling_config.downscale_delay_s": _SECONDS,
    "autoscaling_config.downscale_to_zero_delay_s": _SECONDS,
    "autoscaling_config.upscale_delay_s": _SECONDS,
    "autoscaling_config.smoothing_factor": _FACTOR,
    "autoscaling_config.upscale_smoothing_factor": _FACTOR,
    "autoscaling_config.downscale_smoothing_factor": _FACTOR,
    "autoscaling_config.upscaling_factor": _FACTOR,
    "autoscaling_config.downscaling_factor": _FACTOR,
    "ray_actor_options.num_cpus": _RESOURCE,
    "ray_actor_options.num_gpus": _RESOURCE,
    "ray_actor_options.memory": _Bounds(0, 2**50),
}
_ORDERED = ("min_replicas", "initial_replicas", "max_replicas")


def find_faults(entry: Mapping[str, Any], path: str) -> Iterator[Finding]:
    """The numbers of a deployment that are none, or out of bounds; null stands for a default.

    Args:
        entry: The deployment in the deployment file.
        path: Its path, such as `animals.StablePool`.
    """
    for key, bounds in _BOUNDS.items():
        part, _, inner = key.rpartition(".")
        content = entry.get(part) if part else entry
        value = content.get(inner) if isinstance(content, Mapping) else None
        if value is not None and (message := _describe(value, bounds)):
            yield Finding(f"{path}.{key}", message)
    yield from _find_disorder(entry.get("autoscaling_config"), f"{path}.autoscaling_config")


def _describe(value: object, bounds: _Bounds) -> str | None:
    """The message on a value that is out of bounds."""
    if value in bounds.words:
        return None
    number = "a whole number" if bounds.is_whole else "a number"
    is_number = isinstance(value, int if bounds.is_whole else int | float)
    if is_number and not isinstance(value, bool) and bounds.least <= value <= bounds.most:  # type: ignore[operator]
        return None
    words = "".join(f", or {word}" for word in bounds.words)
    hint = share_hint(value) if bounds.most == 1 else None
    return (
        f"is {quote(value)}: expected {number} from {write_number(bounds.least)} to"
        f" {write_number(bounds.most)}{words}" + (f"; {hint}" if hint else "")
    )


def _find_disorder(scaling: Any, path: str) -> Iterator[Finding]:
    """Numbers of replicas that do not rise from the smallest to the largest."""
    if not isinstance(scaling, Mapping):
        return
    numbers = [(key, scaling[key]) for key in _ORDERED if type(scaling.get(key)) is int]
    for (lower, least), (upper, most) in pairwise(numbers):
        if least > most:
            yield Finding(f"{path}.{lower}", f"is {least}, above {upper}, which is {most}")
