from __future__ import annotations

from typing import Any

import pytest

from tests.unit.http.control.conftest import RESULTS, RecordingService


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("/status", ("status",)),
        ("/deployment", ("deployment",)),
        ("/revisions/3", ("revision", 3)),
    ],
)
def test_the_state_is_returned(service: RecordingService, path: str, call: tuple[Any, ...]) -> None:
    assert service.get(path) == RESULTS[call[0]]
    assert service.calls == [call]


def test_text_that_is_not_unicode_is_escaped(
    service: RecordingService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment file may have it, for instance in `user_config`."""
    monkeypatch.setitem(RESULTS, "deployment", {"applications": ["\ud800"]})
    assert service.get("/deployment") == {"applications": ["\ud800"]}


@pytest.mark.parametrize("name", ["revisions", "audit"])
def test_a_list_has_a_limit(service: RecordingService, name: str) -> None:
    for path in (f"/{name}", f"/{name}?limit=3"):
        assert service.get(path) == {name: RESULTS[name]}
    assert service.calls == [(name, 50), (name, 3)]


@pytest.mark.parametrize("path", ["/revisions", "/audit", "/reviews"])
@pytest.mark.parametrize("limit", ["0", "1001", "x", "1.5"])
def test_an_invalid_limit_is_rejected(service: RecordingService, path: str, limit: str) -> None:
    assert service.error("GET", f"{path}?limit={limit}")[:2] == (422, "bad_parameter")


@pytest.mark.parametrize(("path", "since"), [("/overview", "1h"), ("/overview?since=7d", "7d")])
def test_the_overview_has_the_status_and_the_traffic(
    service: RecordingService, path: str, since: str
) -> None:
    assert service.get(path) == {"status": RESULTS["status"], **RESULTS["overview"]}
    assert service.calls == [("status",), ("overview", since)]
