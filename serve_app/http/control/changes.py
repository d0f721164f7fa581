"""The routes that change the configuration."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serve_app.control_plane.changes import (
    ConfigChange,
    Deploy,
    Restore,
    RestoreRequest,
    SetRule,
    Update,
)
from serve_app.control_plane.preview import Preview
from serve_app.http import documentation
from serve_app.http.control.authentication import Authenticator
from serve_app.http.control.json_route import StrictJsonRoute
from serve_app.http.control.parameters import RevisionNumber
from serve_app.http.control.service import ControlService, ReadService
from serve_app.http.problems import json_response

EVIDENCE_TIMEOUT_S = 3.0

logger = logging.getLogger(__name__)


class _Options(BaseModel):
    """Other keys are rejected: a misspelt `dry_run` must not make the change."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(
        False, description="Change nothing; respond with what the change would do."
    )


Options = Annotated[_Options, Query()]


class Applied(BaseModel):
    """The result of a change."""

    revision: int = Field(description="The number of the revision.")
    rule_id: documentation.RuleId
    warnings: list[str] = Field(description="Settings that are allowed and not recommended.")


def router(control: ControlService, reads: ReadService, authenticator: Authenticator) -> APIRouter:
    """The router of `/deployment`, `/rule`, `/updates` and `/revisions/{number}/restore`."""
    errors = documentation.problem_responses(401, 403, 404, 408, 409, 413, 422, 429, 503, 504)
    routes = APIRouter(tags=["changes"], responses=errors, route_class=StrictJsonRoute)
    results: dict[int | str, dict[str, Any]] = {
        200: {"model": Applied | Preview, "description": "The result, or the preview"}
    }

    async def _promotion_warnings(version: str) -> list[str]:
        """Those of the reports. A report that fails or is slow must not prevent a change."""
        try:
            async with asyncio.timeout(EVIDENCE_TIMEOUT_S):
                return await reads.promotion_warnings(version)
        except Exception:
            logger.exception("promotion_warnings.failed")
            return [f"the reports on {version} cannot be read now"]

    async def respond(change: ConfigChange, options: Options) -> Response:
        if options.dry_run:
            preview = await control.preview(change)
            against = await _promotion_warnings(preview.promoted) if preview.promoted else []
            return json_response(asdict(preview) | {"warnings": [*preview.warnings, *against]})
        applied = await control.apply(change)
        return json_response(
            {
                "revision": applied.number,
                "rule_id": applied.rule_id,
                "warnings": applied.warnings,
            }
        )

    @routes.put(
        "/deployment",
        summary="Deploy a configuration",
        responses=results,
        dependencies=[Depends(authenticator.require_token)],
    )
    async def deploy(body: Deploy, options: Options) -> Response:
        return await respond(body, options)

    @routes.put("/rule", summary="Put a rule in force", responses=results)
    async def set_rule(body: SetRule, options: Options) -> Response:
        return await respond(body, options)

    @routes.post("/updates", summary="Serve all users with a version", responses=results)
    async def update(request: Request, body: Update, options: Options) -> Response:
        if body.runtime_env is not None:
            authenticator.require_token(request)
        return await respond(body, options)

    @routes.post(
        "/revisions/{number}/restore", summary="Deploy a revision again", responses=results
    )
    async def restore(number: RevisionNumber, body: RestoreRequest, options: Options) -> Response:
        return await respond(Restore(revision=number, **body.model_dump()), options)

    return routes
