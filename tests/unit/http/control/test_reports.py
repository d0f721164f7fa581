from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlencode

import pytest

from serve_app.http.control.reports import CHUNK_BYTES, EXPORT_TYPES
from serve_app.reports.query import ReportQuery
from tests.unit.http.control.conftest import BEARER, RESULTS, RecordingService

EXPERIMENT_REPORTS = ["canary", "ab", "shadow"]
PERIOD = {"since": "2026-11-23T08:00+01:00", "until": "1h", "region": "oceania"}
QUERY = urlencode(PERIOD | {"experiment": "koala"})


class TestReports:
    @pytest.mark.parametrize("name", EXPERIMENT_REPORTS)
    def test_an_experiment_is_reported(self, service: RecordingService, name: str) -> None:
        for path in (f"/reports/{name}", f"/reports/{name}?{QUERY}"):
            assert service.get(path) == RESULTS["report"]
        queries = [ReportQuery(), ReportQuery(**PERIOD, experiment="koala")]
        assert service.calls == [("report", name, query) for query in queries]

    def test_the_traffic_report_has_a_period_and_no_experiment(
        self, service: RecordingService
    ) -> None:
        for path in ("/reports/traffic", f"/reports/traffic?{urlencode(PERIOD)}"):
            assert service.get(path) == RESULTS["report"]
        assert service.error("GET", f"/reports/traffic?{QUERY}")[:2] == (422, "bad_parameter")
        queries = [ReportQuery("7d"), ReportQuery(**PERIOD)]
        assert service.calls == [("report", "traffic", query) for query in queries]
        operation = service.app.openapi()["paths"]["/reports/traffic"]["get"]
        assert {parameter["name"] for parameter in operation["parameters"]} == set(PERIOD)

    @pytest.mark.parametrize("parameter", ["since", "until", "region", "experiment"])
    def test_a_too_long_parameter_is_rejected(
        self, service: RecordingService, parameter: str
    ) -> None:
        error = service.error("GET", f"/reports/ab?{parameter}={'x' * 101}")
        assert error[:2] == (422, "bad_parameter")

    def test_the_experiments_are_listed(self, service: RecordingService) -> None:
        assert service.get("/experiments") == {"experiments": RESULTS["experiments"]}
        service.get("/experiments?limit=2")
        assert service.error("GET", "/experiments?limit=0")[:2] == (422, "bad_parameter")
        assert service.calls == [("experiments", 50), ("experiments", 2)]


class TestExport:
    @pytest.mark.parametrize(
        ("query", "kind", "since"),
        [("", "csv", "7d"), ("?kind=parquet&since=24h", "parquet", "24h")],
    )
    def test_an_export_is_sent_as_a_file_and_removed(
        self, service: RecordingService, query: str, kind: str, since: str
    ) -> None:
        response = service.request("GET", f"/export/exposures{query}")
        assert response.content == service.table
        assert response.headers["content-type"].split(";")[0] == EXPORT_TYPES[kind]
        assert f'filename="exposures.{kind}"' in response.headers["content-disposition"]
        assert service.calls == [("export", "exposures", kind, since)]
        assert not service.exported.exists()

    def test_an_export_is_sent_in_chunks_of_fixed_size(self, service: RecordingService) -> None:
        service.table = b"1,2\r\n" * 30_000
        chunks: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: MutableMapping[str, Any]) -> None:
            chunks.append(message.get("body", b""))

        scope = {
            "type": "http",
            "asgi": {"spec_version": "2.4"},
            "method": "GET",
            "path": "/export/exposures",
            "query_string": b"",
            "headers": [(b"authorization", BEARER["authorization"].encode())],
        }
        asyncio.run(service.app(scope, receive, send))
        assert b"".join(chunks) == service.table
        full, last = divmod(len(service.table), CHUNK_BYTES)
        assert [len(chunk) for chunk in chunks if chunk] == [CHUNK_BYTES] * full + [last]

    @pytest.mark.parametrize(
        ("name", "status"), [("exposures?kind=xls", 422), ("Home", 422), ("..%2Fhome", 404)]
    )
    def test_an_invalid_table_or_format_is_rejected(
        self, service: RecordingService, name: str, status: int
    ) -> None:
        assert service.error("GET", f"/export/{name}")[0] == status
        assert service.calls == []
