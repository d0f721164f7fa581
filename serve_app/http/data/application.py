"""The HTTP application of the data plane."""

from __future__ import annotations

from collections.abc import Callable, Collection

from fastapi import Depends, FastAPI
from starlette.types import Lifespan

from serve_app import __version__
from serve_app.data_plane.plane import DataPlane
from serve_app.http import documentation
from serve_app.http.cors import Cors
from serve_app.http.data import classify, feedback, health, home, models, rule
from serve_app.http.direct_routes import DirectRoutes, post_routes
from serve_app.http.methods import PathMethods
from serve_app.http.open_inference import inference
from serve_app.http.pages import add_pages
from serve_app.http.problems import add_error_handlers
from serve_app.http.queries import reject_unknown_keys
from serve_app.http.read_pace import ReadPace
from serve_app.http.request_tracing import RequestTracing
from serve_app.http.response_headers import ResponseHeaders
from serve_app.recording.feedback import FeedbackSink
from serve_app.trace import Trace


def application(
    plane: DataPlane,
    feedback_sink: FeedbackSink,
    model: str,
    record_trace: Callable[[Trace], None],
    lifespan: Lifespan[FastAPI],
    cors_origins: Collection[str] = (),
) -> FastAPI:
    """The FastAPI application.

    Args:
        model: The model's name in the Open Inference Protocol.
        record_trace: Called after each response; must be fast and must not raise.
        lifespan: Starts and stops background work.
        cors_origins: See `AnimalsArgs`.
    """
    app = FastAPI(
        title="serve-app",
        version=__version__,
        summary="Classifies images with the model version that the rule in force selects.",
        license_info={"name": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,  # see `add_pages`
        redoc_url=None,
        redirect_slashes=False,  # see `add_error_handlers`
        responses=documentation.problem_responses(400, 500, 504),  # see `RequestTracing`
    )
    classify_router, inference_router = classify.router(plane), inference.router(plane, model)
    app.include_router(classify_router)
    app.include_router(feedback.router(plane, feedback_sink))
    app.include_router(inference_router)
    app.include_router(health.router(plane))
    reads = ReadPace()
    for router in (rule.router(plane), models.router(plane)):
        app.include_router(
            router,
            dependencies=[Depends(reject_unknown_keys), Depends(reads.wait)],
            responses=documentation.problem_responses(422, 429),
        )
    app.include_router(home.router())
    add_pages(app)
    add_error_handlers(app)
    app.add_middleware(
        DirectRoutes, routes=post_routes([*classify_router.routes, *inference_router.routes])
    )
    app.add_middleware(PathMethods)
    app.add_middleware(RequestTracing, record_trace=record_trace)
    app.add_middleware(ResponseHeaders)
    if cors_origins:
        app.add_middleware(Cors, origins=cors_origins)
    return app
