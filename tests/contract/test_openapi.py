"""The OpenAPI documents of both planes are valid, and responses conform to them."""

from __future__ import annotations

import os
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
from serve_app.errors import Problem
from serve_app.http.image_bodies import IMAGE_TYPES
from serve_app.http.problems import PROBLEM_TYPE
from serve_app.privacy.prediction_ids import PredictionId
from serve_app.rules.plan import Pool
from tests.unit.http.control.conftest import BEARER, RecordingService
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, SINGLE, Service, image

SERVICE = Service(Path(tempfile.mkdtemp()))
CONTROL = RecordingService(Path(tempfile.mkdtemp()))
PREDICTION_ID = SERVICE.id_codec.encode(
    PredictionId("ab" * 6, 1, now_ms(), "9f31c0aa", "v1", "cat")
)
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
DOCUMENTS: dict[str, dict[str, Any]] = {
    "": SERVICE.app.openapi(),
    "/control": CONTROL.app.openapi(),
}
OPERATIONS = {
    f"{method.upper()} {prefix}{path}": operation
    for prefix, document in DOCUMENTS.items()
    for path, item in document["paths"].items()
    for method, operation in item.items()
}

for media_type in IMAGE_TYPES:
    schemathesis.openapi.media_type(
        media_type, st.one_of(st.sampled_from([image("cat"), image("koala")]), st.binary())
    )
schema = schemathesis.openapi.from_asgi("/openapi.json", SERVICE.app)
control_schema = schemathesis.openapi.from_asgi("/openapi.json", CONTROL.app)


@schema.hook
def map_path_parameters(
    _: schemathesis.HookContext, path_parameters: dict[str, str]
) -> dict[str, str]:
    """Replace some of the generated versions by one that exists."""
    parameters = dict(path_parameters or {})
    if re.search(r"[02468]$", parameters.get("version", "")):
        parameters["version"] = "v2"
    return parameters


def apply_rule(rule: dict[str, Any]) -> None:
    """Put a rule in force, with pins allowed and the candidate ready."""
    SERVICE.apply_rule(**rule, allow_pin=True)
    SERVICE.pools.assigned[Pool.CANDIDATE] = "v2"
    SERVICE.plane.breaker.ready = SERVICE.plane.breaker.is_closed = True


EXAMPLES = int(os.environ.get("SERVE_APP_EXAMPLES", "15"))  # per operation; `make fuzz` sets it
HYPOTHESIS_SETTINGS = settings(
    deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), max_examples=EXAMPLES
)


@schema.parametrize()
@HYPOTHESIS_SETTINGS
def test_responses_conform_under_single(case: schemathesis.Case[Any]) -> None:
    apply_rule(SINGLE)
    case.call_and_validate(checks=CHECKS)


# The routes whose responses depend on the rule.
@pytest.mark.parametrize("rule", [PARALLEL, ROLLING, AB, SHADOW], ids=lambda rule: rule["kind"])
@schema.include(path_regex="classify|explain|rule|animals/infer|ready").parametrize()
@settings(HYPOTHESIS_SETTINGS, max_examples=max(5, EXAMPLES // 3))
def test_responses_conform_under_every_rule(
    case: schemathesis.Case[Any], rule: dict[str, Any]
) -> None:
    apply_rule(rule)
    case.call_and_validate(checks=CHECKS)


@control_schema.parametrize()
@settings(HYPOTHESIS_SETTINGS, max_examples=max(5, EXAMPLES // 3))
def test_responses_of_the_control_plane_conform(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(checks=CHECKS, headers=BEARER)


def test_feedback_on_a_valid_prediction_id_conforms() -> None:
    """A generated prediction id is never valid."""
    statuses = set()

    @given(case=schema["/v1/feedback"]["POST"].as_strategy())
    @settings(HYPOTHESIS_SETTINGS, max_examples=40)
    def send_feedback(case: schemathesis.Case[Any]) -> None:
        if isinstance(case.body, dict):
            case.body["prediction_id"] = PREDICTION_ID
        statuses.add(case.call_and_validate(checks=CHECKS).status_code)

    send_feedback()
    assert statuses == {200, 422}


def schemas(node: Any) -> list[dict[str, Any]]:
    """All JSON Schemas of the document."""
    found: list[dict[str, Any]] = []
    if isinstance(node, dict):
        found += [node["schema"]] if "schema" in node else []
        for child in node.values():
            found += schemas(child)
    elif isinstance(node, list):
        for child in node:
            found += schemas(child)
    return found


@pytest.mark.parametrize(
    ("prefix", "title"), [("", "serve-app"), ("/control", "serve-app control plane")]
)
def test_a_document_is_valid(prefix: str, title: str) -> None:
    document = DOCUMENTS[prefix]
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == title
    found = schemas(document)
    assert len(found) > 50
    for each in found:
        jsonschema_rs.Draft202012Validator(each | {"components": document["components"]})
    ids = [each["operationId"] for item in document["paths"].values() for each in item.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", OPERATIONS)
class TestOperations:
    def test_it_has_a_summary_and_tags(self, name: str) -> None:
        assert OPERATIONS[name]["summary"]
        assert OPERATIONS[name]["tags"]

    def test_it_describes_its_path_parameters(self, name: str) -> None:
        described = [p["name"] for p in OPERATIONS[name].get("parameters", []) if p["in"] == "path"]
        assert sorted(described) == sorted(re.findall(r"{(\w+)}", name))

    def test_it_documents_the_limits_of_its_body(self, name: str) -> None:
        statuses = OPERATIONS[name]["responses"].keys()
        limits = {"408", "413"} if "requestBody" in OPERATIONS[name] else set()
        assert statuses & {"408", "413"} == limits

    def test_its_errors_are_problems(self, name: str) -> None:
        responses = OPERATIONS[name]["responses"]
        errors = {status: response for status, response in responses.items() if int(status) >= 400}
        assert {"400", str(Problem.status)} <= errors.keys()
        assert {media for response in errors.values() for media in response["content"]} == {
            PROBLEM_TYPE
        }
