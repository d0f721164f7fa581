"""The HTTP application of the data plane."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import Lifespan

from serve_app import __version__
from serve_app.data_plane.plane import DataPlane
from serve_app.http import classify, discovery, documentation, feedback, inference
from serve_app.http.direct_routes import DirectRoutes, posts
from serve_app.http.envelope import Envelope
from serve_app.http.problems import explain_errors
from serve_app.recording.feedback import FeedbackDesk
from serve_app.trace import Trace


def application(
    plane: DataPlane,
    desk: FeedbackDesk,
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
        summary="Classifies pictures; the rule in force says which version answers.",
        license_info={"name": "Apache-2.0"},
        lifespan=lifespan,
        responses=documentation.problems(400, 500),  # see `Envelope`
    )
    classifying, inferring = classify.router(plane), inference.router(plane, model)
    app.include_router(classifying)
    app.include_router(feedback.router(plane.identity, desk))
    app.include_router(inferring)
    app.include_router(discovery.router(plane))
    explain_errors(app)
    app.add_middleware(DirectRoutes, routes=posts([*classifying.routes, *inferring.routes]))
    app.add_middleware(Envelope, answered=answered)
    return app
