"""Keys of a query that the route does not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.http.control.conftest import RecordingService
from tests.unit.service import Service


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/reports/canary?candidate=v2", "since, until, region, experiment"),
        ("/reports/traffic?experiment=a", "since, until, region"),
        ("/audit?limit=5&Limit=6", "limit"),
        ("/export/epochs?format=csv", "since, kind"),
        ("/reviews?reviwed=true", "limit, reviewed"),
    ],
)
def test_the_control_plane_names_the_known_keys(path: str, keys: str, tmp_path: Path) -> None:
    status, code, detail = RecordingService(tmp_path).error("GET", path)
    assert (status, code) == (422, "bad_parameter")
    assert f"is not a key of the query: the keys are {keys}" in detail


def test_every_get_route_checks_its_query(tmp_path: Path) -> None:
    service = RecordingService(tmp_path)
    paths = [path for path, item in service.app.openapi()["paths"].items() if "get" in item]
    values = {"number": "3", "table": "epochs", "image_id": "0123456789ab-7"}
    for path in paths:
        assert service.error("GET", path.format(**values) + "?nothing=1")[0] == 422, path
    assert service.calls == []


def test_the_token_comes_first(tmp_path: Path) -> None:
    assert RecordingService(tmp_path).error("GET", "/status?a=1", headers={})[0] == 401


@pytest.mark.parametrize("path", ["/v1/rule", "/v1/explain", "/v1/models", "/v1/models/v1"])
def test_the_data_plane_takes_no_query(service: Service, path: str) -> None:
    response = service.request("GET", f"{path}?user=anna")
    assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
    assert "query.user is not a key of the query: the path takes none" in response.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2", "/v2/health/live"])
def test_probes_may_add_a_query(service: Service, path: str) -> None:
    assert service.request("GET", f"{path}?_=1").status_code == 200
