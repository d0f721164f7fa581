"""How many replicas there are, and how calls find them: what the deployments have by default.

In the words of Serve's `autoscaling_config` and `request_router_config`.
"""

from __future__ import annotations

from typing import Any

MAX_REPLICAS = 2
# The same under every rule, for Serve replaces all replicas when it changes. So soon do the
# ingresses know which replica was given another version.
ROUTING: dict[str, Any] = {
    "request_router_class": "serve_app.serving.router:VersionRouter",
    "request_routing_stats_period_s": 0.5,
}
# Serve 2.60 says that variables of the environment will replace `metrics_interval_s`, and does not
# read them yet: `serve_app.lifecycle.environment` has both at the same pace. Without it the pools
# would be counted every 10 s, and a look back must be longer than that.
_PACE: dict[str, Any] = {
    "metrics_interval_s": 1,
    "look_back_period_s": 4,
    "upscale_delay_s": 4,
    "downscale_delay_s": 20,
}


def pool_scaling(min_replicas: int) -> dict[str, Any]:
    """Of a pool of classifiers."""
    return _scaling(min_replicas, target_ongoing_requests=2.5)


def ingress_scaling() -> dict[str, Any]:
    """Of the ingress."""
    return _scaling(1, target_ongoing_requests=48)


def _scaling(min_replicas: int, target_ongoing_requests: float) -> dict[str, Any]:
    return {
        "min_replicas": min_replicas,
        "initial_replicas": min_replicas,
        "max_replicas": MAX_REPLICAS,
        "target_ongoing_requests": target_ongoing_requests,
        **_PACE,
    }
