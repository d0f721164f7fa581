from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.http.control.conftest import (
    AUDIT,
    BEARER,
    CHANGES,
    CONFIG_CHANGES,
    JSON,
    SET_RULE,
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
            assert f"body.{missing} is missing" in detail
        assert len(service.calls) == 1


@pytest.mark.parametrize("three", ["3", "3.0", "3e0", "0.3E1"])
def test_a_number_may_have_any_spelling(service: RecordingService, three: str) -> None:
    body = json.dumps(SET_RULE | {"base_revision": 0, "rule": {"kind": "single", "of": 0}})
    body = body.replace(": 0", f": {three}")
    assert service.request("PUT", "/rule", content=body, headers=BEARER | JSON).is_success
    ((_, change),) = service.calls
    assert repr((change.base_revision, change.rule["of"])) == "(3, 3)"


@pytest.mark.parametrize("value", ["3", True, 3.5, 1e300, [3]])
def test_another_value_is_no_revision(service: RecordingService, value: Any) -> None:
    body = SET_RULE | {"base_revision": value}
    status, code, detail = service.error("PUT", "/rule", json=body)
    assert (status, code) == (422, "bad_parameter")
    assert detail.startswith("body.base_revision is ")


@pytest.mark.parametrize("key", ["actor", "reason"])
@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\x85", "\u202e", "\u2028"])
def test_characters_that_hide_text_are_rejected_in_actor_and_reason(
    service: RecordingService, key: str, character: str
) -> None:
    """PostgreSQL stores no NUL, a terminal interprets the others, and an audit shows one line."""
    for sent in CHANGES:
        body = sent.body | {key: f"é {character} x"}
        status, code, detail = service.error(sent.method, sent.path, json=body)
        assert (status, code) == (422, "bad_parameter")
        assert f"body.{key} " in detail
        assert f"U+{ord(character):04X}" in detail
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


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ('{"rule": {"weight": 0.01, "weight": 0.5}}', "body.rule.weight is set twice: keep one"),
        ('{"actor": "a", "actor": "b"}', "body.actor is set twice: keep one"),
        ('{"rule": {"weight": NaN}}', "body has NaN, which JSON does not have"),
        ('{"rule": {"weight": 1e999}}', "body.rule.weight is no finite number"),
        ('{"rule": {"of": 99999999999999999999}}', "body.rule.of is beyond 9223372036854775807"),
        ('{"rule": {"of": ' + 5000 * "9" + "}}", "body has a number beyond"),
        ('{"rule": {"experiment": "\\ud800"}}', "body.rule.experiment has half of a character"),
        ('{"reason": "\\u0000"}', "body.reason has the character U+0000"),
        (5000 * "[", "body has more than 64 levels"),
        ('{"actor": "a"', "body is not JSON: Expecting"),
        ('{"actr": "a", "reason": "", "rule": {}}', "body.actr is not a key here: did you mean a"),
    ],
)
def test_a_body_that_readers_take_differently_is_rejected(
    service: RecordingService, sent: str, detail: str
) -> None:
    status, code, text = service.error("PUT", "/rule", content=sent, headers=BEARER | JSON)
    assert (status, code) == (422, "bad_parameter")
    assert text.startswith(detail)
    assert service.calls == []


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
