"""Default `autoscaling_config` and `request_router_config` of the deployments."""

from __future__ import annotations

from typing import Any

from serve_app.rules.plan import Pool

DEFAULT_MIN_REPLICAS = {Pool.STABLE: 1, Pool.CANDIDATE: 0}
MAX_REPLICAS = 2
# It is the same under every rule, because Serve replaces all replicas when it changes. The period
# bounds how late an ingress learns that a replica has another version.
ROUTING: dict[str, Any] = {
    "request_router_class": "serve_app.serving.router:VersionRouter",
    "request_routing_stats_period_s": 0.5,
}
# Serve 2.60 deprecates `metrics_interval_s` in favour of environment variables that it does not
# read yet; `serve_app.lifecycle.environment` sets them to the same value. The default is 10 s, and
# `look_back_period_s` must be longer than the interval.
_INTERVALS: dict[str, Any] = {
    "metrics_interval_s": 1,
    "look_back_period_s": 4,
    "upscale_delay_s": 4,
    "downscale_delay_s": 20,
}


def pool_scaling(min_replicas: int) -> dict[str, Any]:
    """The `autoscaling_config` of a pool of classifiers."""
    return _scaling(min_replicas, target_ongoing_requests=2.5)


def ingress_scaling() -> dict[str, Any]:
    """The `autoscaling_config` of the ingress."""
    return _scaling(1, target_ongoing_requests=48)


def _scaling(min_replicas: int, target_ongoing_requests: float) -> dict[str, Any]:
    return {
        "min_replicas": min_replicas,
        "initial_replicas": min_replicas,
        "max_replicas": MAX_REPLICAS,
        "target_ongoing_requests": target_ongoing_requests,
        **_INTERVALS,
    }
