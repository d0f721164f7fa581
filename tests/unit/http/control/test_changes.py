from __future__ import annotations

from typing import Any

import pytest

from tests.unit.http.control.conftest import (
    AUDIT,
    BEARER,
    CHANGES,
    CONFIG_CHANGES,
    JSON,
    UPDATE,
    RecordingService,
    Sent,
)

DEFAULTS = {"base_revision": None, "change_stable": False, "runtime_env": None}


@pytest.mark.parametrize("sent", CONFIG_CHANGES)
class TestConfigChanges:
    def test_the_change_is_made_as_it_was_sent(self, service: RecordingService, sent: Sent) -> None:
        content = service.request(sent.method, sent.path, json=sent.body).json()
        assert service.calls == [("apply", sent.change)]
        assert content == {"revision": 7, "rule_id": "9f31c0aa", "warnings": ["high weight"]}

    def test_a_dry_run_returns_the_preview(self, service: RecordingService, sent: Sent) -> None:
        """With the warnings of the reports if all users change version."""
        path = f"{sent.path}?dry_run=true"
        content = service.request(sent.method, path, json=sent.body).json()
        assert service.calls == [("preview", sent.change), ("promotion_warnings", "v2")]
        assert content == {
            "base_revision": 3,
            "promoted": "v2",
            "changes": ["v1 → v2"],
            "confirmations": ["all users"],
            "warnings": ["high weight", "no user was served with v2"],
            "differences": [
                {"path": "rule", "before": "v1", "after": "v2", "restarts_replicas": False}
            ],
        }

    def test_keys_with_a_default_can_be_left_out(
        self, service: RecordingService, sent: Sent
    ) -> None:
        required = {key: value for key, value in sent.body.items() if key not in DEFAULTS}
        service.request(sent.method, sent.path, json=required)
        used = {key: value for key, value in DEFAULTS.items() if hasattr(sent.change, key)}
        assert service.calls == [("apply", sent.change.model_copy(update=used))]
        for missing in required:
            rest = {key: value for key, value in required.items() if key != missing}
            status, code, detail = service.error(sent.method, sent.path, json=rest)
            assert (status, code) == (422, "bad_parameter")
            assert f"body.{missing}: " in detail
        assert len(service.calls) == 1


@pytest.mark.parametrize("key", ["actor", "reason"])
@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\x85"])
def test_control_characters_in_actor_and_reason_are_rejected(
    service: RecordingService, key: str, character: str
) -> None:
    """PostgreSQL stores no NUL, and a terminal interprets the others."""
    for sent in CHANGES:
        body = sent.body | {key: f"é {character} x"}
        status, code, detail = service.error(sent.method, sent.path, json=body)
        assert (status, code) == (422, "bad_parameter")
        assert f"body.{key}: " in detail
        error = f"character 3 is the control character U+{ord(character):04X}: expected one line"
        assert error in detail
    assert service.calls == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"version": "2"}, "body.version"),
        ({"version": "v2/../v1"}, "body.version"),
        ({"method": "canary"}, "body.method"),
        ({"runtime_env": {}}, "runtime_env needs new processes: use the method recreate"),
        ({"runtime_env": [], "method": "recreate"}, "body.runtime_env"),
        ({"base_revision": "latest"}, "body.base_revision"),
        ({"actor": ""}, "body.actor"),
        ({"force": True}, "body.force"),
    ],
)
def test_an_invalid_update_is_rejected_with_the_key(
    service: RecordingService, change: dict[str, Any], error: str
) -> None:
    status, code, detail = service.error("POST", "/updates", json=UPDATE | change)
    assert (status, code) == (422, "bad_parameter")
    assert error in detail
    assert service.calls == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"document": []}'])
def test_an_invalid_body_is_rejected_with_its_location(
    service: RecordingService, body: bytes
) -> None:
    headers = BEARER | JSON
    status, code, detail = service.error("PUT", "/deployment", content=body, headers=headers)
    assert (status, code) == (422, "bad_parameter")
    assert detail.startswith("body")


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", str(2**31)])
def test_an_invalid_revision_number_is_rejected(service: RecordingService, number: str) -> None:
    path = f"/revisions/{number}"
    assert service.error("GET", path)[:2] == (422, "bad_parameter")
    assert service.error("POST", f"{path}/restore", json=AUDIT)[:2] == (422, "bad_parameter")
    assert service.calls == []


@pytest.mark.parametrize("query", ["dry_run=maybe", "dry-run=true", "dry_run=true&force=1"])
def test_an_unclear_dry_run_changes_nothing(service: RecordingService, query: str) -> None:
    for sent in CONFIG_CHANGES:
        error = service.error(sent.method, f"{sent.path}?{query}", json=sent.body)
        assert error[:2] == (422, "bad_parameter")
    assert service.calls == []
