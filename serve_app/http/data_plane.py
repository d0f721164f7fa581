"""The HTTP application of the data plane."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import Lifespan

from serve_app import __version__
from serve_app.data_plane.plane import DataPlane
from serve_app.http import classify, documentation, feedback, health, inference, models, rule
from serve_app.http.direct_routes import DirectRoutes, posts
from serve_app.http.problems import explain_errors
from serve_app.http.request_tracing import RequestTracing
from serve_app.recording.feedback import FeedbackSink
from serve_app.trace import Trace


def application(
    plane: DataPlane,
    desk: FeedbackSink,
    model: str,
    answered: Callable[[Trace], None],
    lifespan: Lifespan[FastAPI],
) -> FastAPI:
    """The whole of it.

    Args:
        desk: Takes feedback.
        model: The model's name in the Open Inference Protocol.
        answered: Sees each request once it is answered; must be quick and never raise.
        lifespan: What runs beside it.
    """
    app = FastAPI(
        title="serve-app",
        version=__version__,
        summary="Classifies images; the rule in force says which version answers.",
        license_info={"name": "Apache-2.0"},
        lifespan=lifespan,
        responses=documentation.problems(400, 500),  # see `RequestTracing`
    )
    classifying, inferring = classify.router(plane), inference.router(plane, model)
    app.include_router(classifying)
    app.include_router(feedback.router(plane.id_codec, desk))
    app.include_router(inferring)
    app.include_router(health.router(plane))
    app.include_router(rule.router(plane))
    app.include_router(models.router(plane))
    explain_errors(app)
    app.add_middleware(DirectRoutes, routes=posts([*classifying.routes, *inferring.routes]))
    app.add_middleware(RequestTracing, answered=answered)
    return app
