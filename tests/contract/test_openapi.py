"""The OpenAPI document of the data plane is sound, and whatever is sent is answered as it says."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis import checks

from serve_app.errors import Problem
from serve_app.http.bodies import PICTURE_TYPES
from serve_app.http.problems import PROBLEM_TYPE
from tests.unit.service import Service, picture

SERVICE = Service(Path(tempfile.mkdtemp()))
SERVICE.obey(allow_pin=True)
DOCUMENT: dict[str, Any] = SERVICE.app.openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}

for media_type in PICTURE_TYPES:
    schemathesis.openapi.media_type(
        media_type, st.one_of(st.sampled_from([picture("cat"), picture("koala")]), st.binary())
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


@schema.parametrize()
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_sent_is_answered_as_documented(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(
        checks=[
            checks.not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_headers_conformance,
            checks.response_schema_conformance,
        ]
    )


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
