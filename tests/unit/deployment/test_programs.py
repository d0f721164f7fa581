from __future__ import annotations

from typing import Any

import pytest

from serve_app.deployment.programs import IMPORT_PATHS, check_programs
from serve_app.errors import BadConfig

ANIMALS = {"name": "animals", "import_path": IMPORT_PATHS["animals"]}
CONTROL = {"name": "control", "import_path": IMPORT_PATHS["control"]}
NOTES = {"name": "notes", "import_path": "notes:app", "route_prefix": "/notes"}


def document(*applications: Any) -> dict[str, Any]:
    return {"applications": list(applications)}


OWN = document(ANIMALS, CONTROL)


def test_the_shipped_programs_are_accepted() -> None:
    check_programs(OWN, document())


@pytest.mark.parametrize("listed", [None, "animals", [3], []])
def test_the_structure_is_checked_elsewhere(listed: Any) -> None:
    check_programs({"applications": listed}, OWN)


def test_another_import_path_is_rejected_unless_it_runs() -> None:
    other = document(ANIMALS | {"import_path": "mine:animals"}, CONTROL)
    expected = "animals.import_path is mine:animals: expected serve_app.serving.app:animals"
    with pytest.raises(BadConfig, match=expected):
        check_programs(other, OWN)
    check_programs(other, other)
    check_programs(OWN, other)  # and back


def test_another_application_is_rejected_unless_it_runs() -> None:
    with_notes = document(ANIMALS, CONTROL, NOTES)
    with pytest.raises(BadConfig, match="notes is not an application of serve-app"):
        check_programs(with_notes, OWN)
    check_programs(with_notes, document(ANIMALS, CONTROL, NOTES | {"runtime_env": {}}))


@pytest.mark.parametrize(
    "change", [{"import_path": "other:app"}, {"runtime_env": {"py_executable": "/bin/sh"}}]
)
def test_a_running_application_may_not_become_another_program(change: dict[str, Any]) -> None:
    with pytest.raises(BadConfig, match="notes is not"):
        check_programs(
            document(ANIMALS, CONTROL, NOTES | change), document(ANIMALS, CONTROL, NOTES)
        )
