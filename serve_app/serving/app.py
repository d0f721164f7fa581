"""The two applications: what `import_path` of every deployment file names.

The graph of deployments never changes with the rule; only `user_config`, replica counts and
autoscaling bounds do.  `num_cpus` are what Ray reserves: small, so that everything fits two cores.
"""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from serve_app.deployment.args import AnimalsArgs
from serve_app.deployment.scaling import ROUTING, ingress_scaling, pool_scaling
from serve_app.domain import CONTROL_API, CONTROLLER
from serve_app.serving.classifier import Classifier
from serve_app.serving.ingress import Ingress
from serve_app.serving.logs import CONFIG

_SMALL = {"num_cpus": 0.1}
_NO_CONFIG: dict[str, Any] = {}  # rejected like any bad one; without any, Serve would not ask
# Serve's own limit, by default 5: ours answer 429 long before, and no slow report keeps others out.
_LONG_QUEUE = 10_000
_HEALTH_CHECK_PERIOD_S = 2  # how soon Serve knows that a replica died; its own default is 10


def animals(args: dict[str, Any]) -> Application:
    """The data plane; see `AnimalsArgs`."""
    return data_plane(AnimalsArgs.model_validate(args), Classifier)


def data_plane(settings: AnimalsArgs, classifier: type[Classifier]) -> Application:
    """The data plane over a class of classifiers."""
    pools = {
        name: _deployment(
            classifier,
            name,
            autoscaling_config=pool_scaling(min_replicas),
            max_surge_percent=25,  # a replica that must be replaced goes when the next is there
            request_router_config=RequestRouterConfig.model_validate(ROUTING),
            user_config=_NO_CONFIG,
        ).bind(settings.backend, settings.registry)
        for name, min_replicas in (("StablePool", 1), ("CandidatePool", 0))
    }
    ingress = _deployment(
        serve.ingress()(Ingress),
        "Ingress",
        autoscaling_config=ingress_scaling(),
        user_config=_NO_CONFIG,
        rolling_update_percentage=1.0,
        max_surge_percent=100,  # replaced ones go when the new ones are there
    )
    return ingress.bind(pools["StablePool"], pools["CandidatePool"], settings.registry)


def control(_: dict[str, Any]) -> Application:
    """The control plane."""
    # Ray builds each application in a process of its own: that of the data plane needs none of it.
    from serve_app.serving.control_api import ControlApi
    from serve_app.serving.controller import Controller

    controller = _deployment(Controller, CONTROLLER, num_replicas=1)
    return _deployment(serve.ingress()(ControlApi), CONTROL_API, num_replicas=1).bind(
        controller.bind()
    )


def _deployment(target: type, name: str, **options: Any) -> serve.Deployment:
    decorate = serve.deployment(
        name=name,
        ray_actor_options=_SMALL,
        logging_config=CONFIG,
        max_ongoing_requests=_LONG_QUEUE,
        health_check_period_s=_HEALTH_CHECK_PERIOD_S,
        **options,
    )
    return decorate(target)
