"""The HTTP application of the control plane; Serve mounts it at /control."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from typing import Annotated, Any, Literal, Protocol

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field, model_validator
from starlette.background import BackgroundTask
from starlette.types import Lifespan

from serve_app import __version__
from serve_app.errors import Unauthorized
from serve_app.http import documentation, reviews
from serve_app.http.audit_fields import AuditFields, Key
from serve_app.http.body_limits import BodyLimit
from serve_app.http.problems import explain_errors, json_response
from serve_app.http.request_tracing import RequestTracing
from serve_app.http.reviews import Reviews
from serve_app.http.session import Authenticator
from serve_app.trace import Trace

PAGES = files("serve_app") / "pages"
MAX_BODY_BYTES = 2**20  # a deployment file has some thousand
CHUNK_BYTES = 64 * 2**10


class ControlPlane(Reviews, Protocol):
    """What the routes ask of the Controller."""

    async def status(self) -> dict[str, Any]: ...
    async def deployed(self) -> dict[str, Any]: ...
    async def deploy(self, document: dict[str, Any], actor: str, reason: str) -> int: ...
    async def set_rule(
        self, content: dict[str, Any], actor: str, reason: str
    ) -> dict[str, Any]: ...
    async def update(
        self,
        version: str,
        method: str,
        runtime_env: dict[str, Any] | None,
        actor: str,
        reason: str,
        key: str | None,
    ) -> int: ...
    async def restore(self, number: int, actor: str, reason: str, key: str | None) -> int: ...
    async def revisions(self, limit: int) -> list[dict[str, Any]]: ...
    async def audit(self, limit: int) -> list[dict[str, Any]]: ...
    async def report(
        self, name: str, since: str | None, region: str | None, experiment: str | None
    ) -> dict[str, Any]: ...
    async def export(self, table: str, kind: str, since: str) -> os.PathLike[str]: ...


class SignIn(BaseModel):
    """What the sign-in form sends. Whoever is not signed in is not told of each key too many."""

    token: str = Field(max_length=200)


class Deployment(AuditFields):
    """A deployment file."""

    document: dict[str, Any]


class NewRule(AuditFields):
    """A rule, as in the YAML."""

    rule: dict[str, Any]


class Update(AuditFields):
    """Another version for everybody; a runtime environment only with `recreate`."""

    version: str = Field(pattern="^v[0-9]+$")
    method: Literal["rolling", "recreate"]
    runtime_env: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _environment_needs_a_new_process(self) -> Update:
        if self.runtime_env is not None and self.method == "rolling":
            raise ValueError("runtime_env takes new processes: use the method recreate")
        return self


Limit = Query(50, ge=1, le=1000)
Since = Annotated[
    str,
    Query(
        description="From when: such as 30m, 24h or 7d before now, or an ISO 8601 time.",
        max_length=50,
    ),
]
SinceOrAll = Annotated[
    str | None,
    Query(description="As above; without it, all that is known.", max_length=50),
]
WEEK = "7d"
Region = Annotated[
    str | None,
    Query(description="A country, or a group such as australia-pacific.", max_length=50),
]
Experiment = Annotated[
    str | None,
    Query(description="Its name in the rule; else the newest of its kind.", max_length=100),
]
EXPORTED = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
TableName = Annotated[str, Path(pattern="^[a-z_]+$", max_length=50)]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


def application(
    plane: ControlPlane,
    authenticator: Authenticator,
    answered: Callable[[Trace], None],
    lifespan: Lifespan[FastAPI],
) -> FastAPI:
    """The whole of it; see `serve_app.http.data_plane.application`."""
    app = FastAPI(
        title="serve-app control plane",
        version=__version__,
        lifespan=lifespan,
        responses=documentation.problems(400, 500),  # see `RequestTracing`
    )
    admitted = [Depends(authenticator.admit)]
    may_fail = documentation.problems(401, 422, 503, 504)
    may_read = documentation.problems(401, 422, 429, 503, 504)
    may_have_none = documentation.problems(401, 404, 422, 429, 503, 504)
    may_change = documentation.problems(401, 404, 408, 409, 413, 422, 503, 504)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse((PAGES / "console.html").read_text(), headers=_PAGE_HEADERS)

    @app.get("/review", response_class=HTMLResponse, include_in_schema=False)
    async def review_page() -> HTMLResponse:
        return HTMLResponse((PAGES / "review.html").read_text(), headers=_PAGE_HEADERS)

    @app.post("/session", status_code=204, responses=documentation.problems(401, 408, 413, 422))
    async def sign_in(request: Request, body: SignIn) -> Response:
        if not authenticator.knows(body.token.strip()):
            raise Unauthorized("this is not the token of the home directory")
        response = Response(status_code=204)
        authenticator.sign_in(response, secure=request.url.scheme == "https")
        return response

    @app.delete("/session", status_code=204)
    async def sign_out() -> Response:
        response = Response(status_code=204)
        authenticator.sign_out(response)
        return response

    @app.get("/status", dependencies=admitted, responses=may_fail)
    async def status() -> Response:
        return json_response(await plane.status())

    @app.get("/deployment", dependencies=admitted, responses=may_fail)
    async def deployed() -> Response:
        return json_response(await plane.deployed())

    @app.put("/deployment", dependencies=admitted, responses=may_change)
    async def deploy(body: Deployment) -> Response:
        number = await plane.deploy(body.document, body.actor, body.reason)
        return json_response({"revision": number})

    @app.put("/rule", dependencies=admitted, responses=may_change)
    async def set_rule(body: NewRule) -> Response:
        return json_response(await plane.set_rule(body.rule, body.actor, body.reason))

    @app.post("/updates", status_code=202, dependencies=admitted, responses=may_change)
    async def update(body: Update, key: Key = None) -> Response:
        number = await plane.update(
            body.version, body.method, body.runtime_env, body.actor, body.reason, key
        )
        return json_response({"revision": number}, 202)

    @app.post("/revisions/{number}/restore", dependencies=admitted, responses=may_change)
    async def restore(number: Number, body: AuditFields, key: Key = None) -> Response:
        revision = await plane.restore(number, body.actor, body.reason, key)
        return json_response({"revision": revision})

    @app.get("/revisions", dependencies=admitted, responses=may_fail)
    async def revisions(limit: int = Limit) -> Response:
        return json_response({"revisions": await plane.revisions(limit)})

    @app.get("/audit", dependencies=admitted, responses=may_fail)
    async def audit(limit: int = Limit) -> Response:
        return json_response({"audit": await plane.audit(limit)})

    @app.get("/reports/traffic", dependencies=admitted, responses=may_read)
    async def traffic_report(since: Since = WEEK, region: Region = None) -> Response:
        return json_response(await plane.report("traffic", since, region, None))

    @app.get("/reports/canary", dependencies=admitted, responses=may_have_none)
    async def canary_report(
        since: SinceOrAll = None, region: Region = None, experiment: Experiment = None
    ) -> Response:
        return json_response(await plane.report("canary", since, region, experiment))

    @app.get("/reports/ab", dependencies=admitted, responses=may_have_none)
    async def ab_report(
        since: SinceOrAll = None, region: Region = None, experiment: Experiment = None
    ) -> Response:
        return json_response(await plane.report("ab", since, region, experiment))

    @app.get("/reports/shadow", dependencies=admitted, responses=may_have_none)
    async def shadow_report(since: SinceOrAll = None, region: Region = None) -> Response:
        return json_response(await plane.report("shadow", since, region, None))

    @app.get(
        "/export/{table}",
        dependencies=admitted,
        responses=may_read | documentation.files(*EXPORTED.values()),
        response_class=StreamingResponse,
    )
    async def export(
        table: TableName, since: Since = WEEK, kind: Literal["csv", "parquet"] = "csv"
    ) -> Response:
        path = await plane.export(table, kind, since)
        file = open(path, "rb")  # noqa: SIM115 closed when it was sent
        os.unlink(path)  # it lasts as long as it is read, whatever becomes of the client
        return StreamingResponse(
            iter(partial(file.read, CHUNK_BYTES), b""),
            media_type=EXPORTED[kind],
            headers={"Content-Disposition": f'attachment; filename="{table}.{kind}"'},
            background=BackgroundTask(file.close),
        )

    app.include_router(reviews.routes(plane), dependencies=admitted)
    app.mount("/static", StaticFiles(packages=[("serve_app", "pages/static")]))
    explain_errors(app)
    app.add_middleware(BodyLimit, most_bytes=MAX_BODY_BYTES)
    app.add_middleware(RequestTracing, answered=answered)
    return app


_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
