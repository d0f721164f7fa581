"""The routes of reports, experiments and exports."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from serve_app.http import documentation
from serve_app.http.control.parameters import (
    Experiment,
    Limit,
    OptionalSince,
    Region,
    Since,
    Until,
)
from serve_app.http.control.service import ReadService
from serve_app.http.problems import json_response
from serve_app.reports.query import ReportQuery
from serve_app.rules.registry import KINDS, kinds_with_report

CHUNK_BYTES = 64 * 2**10
EXPORT_TYPES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
TableName = Annotated[str, Path(pattern="^[a-z_]+$", max_length=50)]
TRAFFIC, TRAFFIC_SINCE = "traffic", "7d"


def router(reads: ReadService) -> APIRouter:
    """The router of `/reports`, `/experiments` and `/export`."""
    errors = documentation.problem_responses(401, 403, 404, 422, 429, 503, 504)
    routes = APIRouter(tags=["reports"], responses=errors)

    @routes.get(f"/reports/{TRAFFIC}", summary="Count the requests by rule, version and reason")
    async def traffic_report(
        since: Since = TRAFFIC_SINCE, until: Until = None, region: Region = None
    ) -> Response:
        return json_response(await reads.report(TRAFFIC, ReportQuery(since, until, region)))

    def add_report(name: str) -> None:
        @routes.get(
            f"/reports/{name}",
            summary=f"Assess an experiment of the kind {' or '.join(kinds_with_report(name))}",
        )
        async def experiment_report(
            since: OptionalSince = None,
            until: Until = None,
            region: Region = None,
            experiment: Experiment = None,
        ) -> Response:
            query = ReportQuery(since, until, region, experiment)
            return json_response(await reads.report(name, query))

    for name in sorted({rule.report for rule in KINDS.values()} - {TRAFFIC}):
        add_report(name)

    @routes.get("/experiments", summary="List the experiments, newest first")
    async def list_experiments(limit: Limit = 50) -> Response:
        return json_response({"experiments": await reads.experiments(limit)})

    @routes.get(
        "/export/{table}",
        summary="Export a table",
        responses=documentation.file_response(*EXPORT_TYPES.values()),
        response_class=StreamingResponse,
    )
    async def export_table(
        table: TableName, since: Since = TRAFFIC_SINCE, kind: Literal["csv", "parquet"] = "csv"
    ) -> Response:
        path = await reads.export(table, kind, since)
        file = open(path, "rb")  # noqa: SIM115 closed after the response
        os.unlink(path)  # the open file stays readable; the name goes even if the client hangs up
        return StreamingResponse(
            iter(partial(file.read, CHUNK_BYTES), b""),
            media_type=EXPORT_TYPES[kind],
            headers={"Content-Disposition": f'attachment; filename="{table}.{kind}"'},
            background=BackgroundTask(file.close),
        )

    return routes
