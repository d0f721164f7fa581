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
from serve_app.http.audit_fields import AuditFields, IdempotencyKey
from serve_app.http.body_limits import BodyLimit
from serve_app.http.problems import add_error_handlers, json_response
from serve_app.http.request_tracing import RequestTracing
from serve_app.http.reviews import Reviews
from serve_app.http.session import Authenticator
from serve_app.trace import Trace

PAGES = files("serve_app") / "pages"
MAX_BODY_BYTES = 2**20  # a deployment file has a few thousand
CHUNK_BYTES = 64 * 2**10


class ControlPlane(Reviews, Protocol):
    """Operations behind the routes; `serve_app.serving.control_api.ControlApi` implements them."""

    async def status(self) -> dict[str, Any]: ...
    async def deployment(self) -> dict[str, Any]: ...
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


class SignInRequest(BaseModel):
    """The sign-in form. Extra keys are ignored: listing them all is costly without a sign-in."""

    token: str = Field(max_length=200)


class DeployRequest(AuditFields):
    """Deploys the content of a deployment file."""

    document: dict[str, Any]


class SetRuleRequest(AuditFields):
    """Puts a rule in force; the same keys as in the YAML."""

    rule: dict[str, Any]


class UpdateRequest(AuditFields):
    """Replaces the version for all users; `runtime_env` needs the method `recreate`."""

    version: str = Field(pattern="^v[0-9]+$")
    method: Literal["rolling", "recreate"]
    runtime_env: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _require_recreate_for_runtime_env(self) -> UpdateRequest:
        if self.runtime_env is not None and self.method == "rolling":
            raise ValueError("runtime_env needs new processes: use the method recreate")
        return self


Limit = Query(50, ge=1, le=1000)
Since = Annotated[
    str,
    Query(
        description="Start of the period: an age such as 30m, 24h or 7d, or an ISO 8601 time.",
        max_length=50,
    ),
]
OptionalSince = Annotated[
    str | None,
    Query(description="As `since` of the other routes; by default, all records.", max_length=50),
]
WEEK = "7d"
Region = Annotated[
    str | None,
    Query(
        description="A country code, or a group of countries such as australia-pacific.",
        max_length=50,
    ),
]
Experiment = Annotated[
    str | None,
    Query(description="The experiment's name; by default, the latest one.", max_length=100),
]
EXPORT_TYPES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
TableName = Annotated[str, Path(pattern="^[a-z_]+$", max_length=50)]
RevisionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]


def application(
    plane: ControlPlane,
    authenticator: Authenticator,
    record_trace: Callable[[Trace], None],
    lifespan: Lifespan[FastAPI],
) -> FastAPI:
    """The FastAPI application; arguments as in `serve_app.http.data_plane.application`."""
    app = FastAPI(
        title="serve-app control plane",
        version=__version__,
        lifespan=lifespan,
        responses=documentation.problem_responses(400, 500),  # see `RequestTracing`
    )
    authenticated = [Depends(authenticator.require_token)]
    read_errors = documentation.problem_responses(401, 422, 503, 504)
    store_read_errors = documentation.problem_responses(401, 422, 429, 503, 504)
    report_errors = documentation.problem_responses(401, 404, 422, 429, 503, 504)
    write_errors = documentation.problem_responses(401, 404, 408, 409, 413, 422, 503, 504)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def console_page() -> HTMLResponse:
        return HTMLResponse((PAGES / "console.html").read_text(), headers=_PAGE_HEADERS)

    @app.get("/review", response_class=HTMLResponse, include_in_schema=False)
    async def review_page() -> HTMLResponse:
        return HTMLResponse((PAGES / "review.html").read_text(), headers=_PAGE_HEADERS)

    @app.post(
        "/session", status_code=204, responses=documentation.problem_responses(401, 408, 413, 422)
    )
    async def sign_in(request: Request, body: SignInRequest) -> Response:
        if not authenticator.is_token(body.token.strip()):
            raise Unauthorized("the token is wrong: send the token of the home directory")
        response = Response(status_code=204)
        authenticator.set_session_cookie(response, secure=request.url.scheme == "https")
        return response

    @app.delete("/session", status_code=204)
    async def sign_out() -> Response:
        response = Response(status_code=204)
        authenticator.delete_session_cookie(response)
        return response

    @app.get("/status", dependencies=authenticated, responses=read_errors)
    async def get_status() -> Response:
        return json_response(await plane.status())

    @app.get("/deployment", dependencies=authenticated, responses=read_errors)
    async def get_deployment() -> Response:
        return json_response(await plane.deployment())

    @app.put("/deployment", dependencies=authenticated, responses=write_errors)
    async def deploy(body: DeployRequest) -> Response:
        number = await plane.deploy(body.document, body.actor, body.reason)
        return json_response({"revision": number})

    @app.put("/rule", dependencies=authenticated, responses=write_errors)
    async def set_rule(body: SetRuleRequest) -> Response:
        return json_response(await plane.set_rule(body.rule, body.actor, body.reason))

    @app.post("/updates", status_code=202, dependencies=authenticated, responses=write_errors)
    async def start_update(body: UpdateRequest, key: IdempotencyKey = None) -> Response:
        number = await plane.update(
            body.version, body.method, body.runtime_env, body.actor, body.reason, key
        )
        return json_response({"revision": number}, 202)

    @app.post("/revisions/{number}/restore", dependencies=authenticated, responses=write_errors)
    async def restore_revision(
        number: RevisionNumber, body: AuditFields, key: IdempotencyKey = None
    ) -> Response:
        revision = await plane.restore(number, body.actor, body.reason, key)
        return json_response({"revision": revision})

    @app.get("/revisions", dependencies=authenticated, responses=read_errors)
    async def list_revisions(limit: int = Limit) -> Response:
        return json_response({"revisions": await plane.revisions(limit)})

    @app.get("/audit", dependencies=authenticated, responses=read_errors)
    async def list_audit(limit: int = Limit) -> Response:
        return json_response({"audit": await plane.audit(limit)})

    @app.get("/reports/traffic", dependencies=authenticated, responses=store_read_errors)
    async def traffic_report(since: Since = WEEK, region: Region = None) -> Response:
        return json_response(await plane.report("traffic", since, region, None))

    @app.get("/reports/canary", dependencies=authenticated, responses=report_errors)
    async def canary_report(
        since: OptionalSince = None, region: Region = None, experiment: Experiment = None
    ) -> Response:
        return json_response(await plane.report("canary", since, region, experiment))

    @app.get("/reports/ab", dependencies=authenticated, responses=report_errors)
    async def ab_report(
        since: OptionalSince = None, region: Region = None, experiment: Experiment = None
    ) -> Response:
        return json_response(await plane.report("ab", since, region, experiment))

    @app.get("/reports/shadow", dependencies=authenticated, responses=report_errors)
    async def shadow_report(since: OptionalSince = None, region: Region = None) -> Response:
        return json_response(await plane.report("shadow", since, region, None))

    @app.get(
        "/export/{table}",
        dependencies=authenticated,
        responses=store_read_errors | documentation.file_response(*EXPORT_TYPES.values()),
        response_class=StreamingResponse,
    )
    async def export_table(
        table: TableName, since: Since = WEEK, kind: Literal["csv", "parquet"] = "csv"
    ) -> Response:
        path = await plane.export(table, kind, since)
        file = open(path, "rb")  # noqa: SIM115 closed after the response
        os.unlink(path)  # the open file stays readable; the name goes even if the client hangs up
        return StreamingResponse(
            iter(partial(file.read, CHUNK_BYTES), b""),
            media_type=EXPORT_TYPES[kind],
            headers={"Content-Disposition": f'attachment; filename="{table}.{kind}"'},
            background=BackgroundTask(file.close),
        )

    app.include_router(reviews.router(plane), dependencies=authenticated)
    app.mount("/static", StaticFiles(packages=[("serve_app", "pages/static")]))
    add_error_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)
    app.add_middleware(RequestTracing, record_trace=record_trace)
    return app


_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
