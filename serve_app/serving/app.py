"""The two Serve applications that the `import_path`s of the deployment files name.

A rule never changes the graph of deployments, only `user_config`s and the sizes of the pools.
"""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from serve_app.deployment.args import AnimalsArgs
from serve_app.deployment.names import CONTROL_API, CONTROLLER, INGRESS
from serve_app.deployment.scaling import (
    DEFAULT_MIN_REPLICAS,
    ROUTING,
    ingress_scaling,
    pool_scaling,
)
from serve_app.rules.plan import Pool
from serve_app.serving.classifier import Classifier
from serve_app.serving.ingress import Ingress
from serve_app.serving.logs import CONFIG

_ACTOR_OPTIONS = {"num_cpus": 0.1}  # reserved; small, so that all replicas fit two cores
_NO_CONFIG: dict[str, Any] = {}  # rejected; without one, Serve would not call `reconfigure`
# Above every limit of ours, which give 429. With Serve's default of 5, slow reports would block
# other requests.
_MAX_ONGOING_REQUESTS = 10_000
_HEALTH_CHECK_PERIOD_S = 2  # how soon Serve replaces a dead replica; the default is 10
# Serve replaces a replica that misses three checks: one that hangs, after 12 s instead of 90. A
# replica that is only busy responds in time, because checks do not queue behind requests.
_HEALTH_CHECK_TIMEOUT_S = 4


def animals(args: dict[str, Any]) -> Application:
    """The application `animals`, the data plane.

    Args:
        args: The fields of `AnimalsArgs`.
    """
    return data_plane(AnimalsArgs.model_validate(args), Classifier)


def data_plane(settings: AnimalsArgs, classifier: type[Classifier]) -> Application:
    """The data plane with a given class of pool replicas."""
    pools = {
        pool: _deployment(
            classifier,
            pool.value,
            autoscaling_config=pool_scaling(min_replicas),
            max_surge_percent=25,  # a new replica starts before an old one stops
            request_router_config=RequestRouterConfig.model_validate(ROUTING),
            user_config=_NO_CONFIG,
        ).bind(settings.backend, settings.registry)
        for pool, min_replicas in DEFAULT_MIN_REPLICAS.items()
    }
    ingress = _deployment(
        serve.ingress()(Ingress),
        INGRESS,
        autoscaling_config=ingress_scaling(),
        user_config=_NO_CONFIG,
        rolling_update_percentage=1.0,
        max_surge_percent=100,  # all new replicas start before the old ones stop
    )
    return ingress.bind(
        pools[Pool.STABLE],
        pools[Pool.CANDIDATE],
        settings.registry,
        settings.cors_origins,
        settings.illegal_ids,
    )


def control(_: dict[str, Any]) -> Application:
    """The application `control`, the control plane."""
    # Ray builds each application in another process; the data plane's must not import these.
    from serve_app.serving.control_api import ControlApi
    from serve_app.serving.controller import Controller

    controller = _deployment(Controller, CONTROLLER, num_replicas=1)
    return _deployment(serve.ingress()(ControlApi), CONTROL_API, num_replicas=1).bind(
        controller.bind()
    )


def _deployment(target: type, name: str, **options: Any) -> serve.Deployment:
    decorate = serve.deployment(
        name=name,
        ray_actor_options=_ACTOR_OPTIONS,
        logging_config=CONFIG,
        max_ongoing_requests=_MAX_ONGOING_REQUESTS,
        health_check_period_s=_HEALTH_CHECK_PERIOD_S,
        health_check_timeout_s=_HEALTH_CHECK_TIMEOUT_S,
        **options,
    )
    return decorate(target)
