"""Every command that the documentation shows runs on a live service and prints what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import documents
from tests.e2e.service import Service


@pytest.mark.parametrize("page", documents.pages(), ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_and_print_what_it_shows(service: Service, page: Path) -> None:
    rule = service.http.get("/v1/rule").json()["rule"]
    if (rule["kind"], rule.get("stable")) != ("single", "v1"):
        documents.run(documents.BASE, service.environ)
    with documents.without_files():
        for command in documents.commands(page.read_text()):
            printed = documents.run(command.script, service.environ)
            missing = documents.differences(command, printed)
            assert not missing, f"{page.name}, line {command.line}: not printed: {missing}"
