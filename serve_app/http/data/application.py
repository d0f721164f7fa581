"""The HTTP application of the data plane."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import Lifespan

from serve_app import __version__
from serve_app.data_plane.plane import DataPlane
from serve_app.http import documentation
from serve_app.http.data import classify, feedback, health, models, rule
from serve_app.http.direct_routes import DirectRoutes, post_routes
from serve_app.http.open_inference import inference
from serve_app.http.problems import add_error_handlers
from serve_app.http.request_tracing import RequestTracing
from serve_app.recording.feedback import FeedbackSink
from serve_app.trace import Trace


def application(
    plane: DataPlane,
    feedback_sink: FeedbackSink,
    model: str,
    record_trace: Callable[[Trace], None],
    lifespan: Lifespan[FastAPI],
) -> FastAPI:
    """The FastAPI application.

    Args:
        model: The model's name in the Open Inference Protocol.
        record_trace: Called after each response; must be fast and must not raise.
        lifespan: Starts and stops background work.
    """
    app = FastAPI(
        title="serve-app",
        version=__version__,
        summary="Classifies images with the model version that the rule in force selects.",
        license_info={"name": "Apache-2.0"},
        lifespan=lifespan,
        responses=documentation.problem_responses(400, 500),  # see `RequestTracing`
    )
    classify_router, inference_router = classify.router(plane), inference.router(plane, model)
    app.include_router(classify_router)
    app.include_router(feedback.router(plane.id_codec, feedback_sink))
    app.include_router(inference_router)
    app.include_router(health.router(plane))
    app.include_router(rule.router(plane))
    app.include_router(models.router(plane))
    add_error_handlers(app)
    app.add_middleware(
        DirectRoutes, routes=post_routes([*classify_router.routes, *inference_router.routes])
    )
    app.add_middleware(RequestTracing, record_trace=record_trace)
    return app
