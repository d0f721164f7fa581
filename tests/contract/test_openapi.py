"""The OpenAPI document of the data plane is sound, and whatever is sent is answered as it says."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import checks

from serve_app.clock import now_ms
from serve_app.domain import Pool
from serve_app.errors import Problem
from serve_app.http.body_limits import IMAGE_TYPES
from serve_app.http.problems import PROBLEM_TYPE
from serve_app.privacy.prediction_ids import PredictionId
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, SINGLE, Service, image

SERVICE = Service(Path(tempfile.mkdtemp()))
GENUINE = SERVICE.id_codec.encode(PredictionId("ab" * 6, 1, now_ms(), "9f31c0aa", "v1", "cat"))
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
DOCUMENT: dict[str, Any] = SERVICE.app.openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}

for media_type in IMAGE_TYPES:
    schemathesis.openapi.media_type(
        media_type, st.one_of(st.sampled_from([image("cat"), image("koala")]), st.binary())
    )
schema = schemathesis.openapi.from_asgi("/openapi.json", SERVICE.app)


@schema.hook
def map_path_parameters(
    _: schemathesis.HookContext, path_parameters: dict[str, str]
) -> dict[str, str]:
    """Among all the versions that could be, now and then one that is."""
    named = dict(path_parameters or {})
    if re.search(r"[02468]$", named.get("version", "")):
        named["version"] = "v2"
    return named


def apply_rule(rule: dict[str, Any]) -> None:
    """Put a rule in force that allows pins, its candidate ready."""
    SERVICE.apply_rule(**rule, allow_pin=True)
    SERVICE.pools.assigned[Pool.CANDIDATE] = "v2"
    SERVICE.plane.breaker.ready = SERVICE.plane.breaker.is_closed = True


EVERYWHERE = settings(
    deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), max_examples=15
)


@schema.parametrize()
@EVERYWHERE
def test_whatever_is_sent_is_answered_as_documented(case: schemathesis.Case[Any]) -> None:
    apply_rule(SINGLE)
    case.call_and_validate(checks=CHECKS)


# The routes that a rule has a say in.
@pytest.mark.parametrize("rule", [PARALLEL, ROLLING, AB, SHADOW], ids=lambda rule: rule["kind"])
@schema.include(path_regex="classify|explain|rule|animals/infer|ready").parametrize()
@settings(EVERYWHERE, max_examples=5)
def test_so_it_is_under_every_rule(case: schemathesis.Case[Any], rule: dict[str, Any]) -> None:
    apply_rule(rule)
    case.call_and_validate(checks=CHECKS)


def test_feedback_on_an_answer_that_was_given_is_answered_as_documented() -> None:
    """Among all the ids that could be sent, none would ever be genuine."""
    statuses = set()

    @given(case=schema["/v1/feedback"]["POST"].as_strategy())
    @settings(EVERYWHERE, max_examples=40)
    def tell(case: schemathesis.Case[Any]) -> None:
        if isinstance(case.body, dict):
            case.body["prediction_id"] = GENUINE
        statuses.add(case.call_and_validate(checks=CHECKS).status_code)

    tell()
    assert statuses == {200, 422}


def schemas(node: Any) -> list[dict[str, Any]]:
    """Every JSON Schema of the document."""
    found: list[dict[str, Any]] = []
    if isinstance(node, dict):
        found += [node["schema"]] if "schema" in node else []
        for child in node.values():
            found += schemas(child)
    elif isinstance(node, list):
        for child in node:
            found += schemas(child)
    return found


def test_it_says_which_openapi_it_is() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["info"]["title"] == "serve-app"


def test_every_schema_is_json_schema() -> None:
    found = schemas(DOCUMENT)
    assert len(found) > 50
    for each in found:
        jsonschema_rs.Draft202012Validator(each | {"components": DOCUMENT.get("components", {})})


def test_operations_are_told_apart() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", OPERATIONS)
class TestOperations:
    def test_it_says_what_it_is_for(self, name: str) -> None:
        assert OPERATIONS[name]["summary"]
        assert OPERATIONS[name]["tags"]

    def test_it_describes_every_part_of_its_path(self, name: str) -> None:
        described = [p["name"] for p in OPERATIONS[name].get("parameters", []) if p["in"] == "path"]
        assert sorted(described) == sorted(re.findall(r"{(\w+)}", name))

    def test_its_errors_are_problems(self, name: str) -> None:
        responses = OPERATIONS[name]["responses"]
        errors = {status: answer for status, answer in responses.items() if int(status) >= 400}
        assert {"400", str(Problem.status)} <= errors.keys()
        assert {media for answer in errors.values() for media in answer["content"]} == {
            PROBLEM_TYPE
        }
