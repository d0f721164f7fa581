"""The documentation names everything that exists, and nothing that does not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from cogapp import Cog
from typer import Typer

from docs import reference
from models.errors import BadImage
from serve_app.cli import app as serve_app
from serve_app.rules.plan import Reason
from serve_app.rules.registry import KINDS
from training.cli import app as training

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PAGES = sorted(DOCS.rglob("*.md"))
OUTSIDE_THE_SITE = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "deploy_configs").rglob("*.md")),
]
GENERATED = [path for path in PAGES if "[[[cog" in path.read_text() and path.stem != "contributing"]


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.stem)
def test_generated_parts_are_up_to_date(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run `make docs` when this fails."""
    monkeypatch.chdir(DOCS)
    for module in ("cog", "cogmodule"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert Cog().main(["cog", "--check", "--diff", "-P", "-I", str(DOCS), str(page)]) == 0, (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("app", "program"), [(serve_app, "serve-app"), (training, "python -m training")]
)
def test_every_command_has_a_section(app: Typer, program: str) -> None:
    page = (DOCS / "cli.md").read_text()
    headings = set(re.findall(r"^### `(.+)`$", page, re.MULTILINE))
    assert {f"{program} {name}" for name, _ in reference.commands(app)} <= headings


def table_rows(page: str) -> dict[str, list[str]]:
    """The rows of all tables of a page by their first cell."""
    rows = [line.strip("|").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_rule_is_described(kind: str) -> None:
    page = (DOCS / "configuration.md").read_text()
    section = page.partition(f"### `kind: {kind}`\n")[2].partition("\n##")[0]
    rows = table_rows(section)
    keys = {field.alias or name for name, field in KINDS[kind].model_fields.items()}
    assert keys <= set(rows)
    assert [key for key, cells in rows.items() if not cells[-1].strip("| ")] == []


def test_every_error_code_says_what_it_means_and_what_to_do() -> None:
    rows = table_rows((DOCS / "troubleshooting.md").read_text())
    codes = {problem.code for problem in reference.problem_classes()}
    codes |= {problem.code for problem in BadImage.__subclasses__()}
    assert codes <= set(rows)
    assert [code for code in codes if not all(cell.strip("| ") for cell in rows[code])] == []


def test_every_reason_is_described() -> None:
    rows = table_rows((DOCS / "concepts.md").read_text())
    assert {reason.value for reason in Reason} <= set(rows)


def test_the_readme_names_only_make_targets_that_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)\b(?=[`\s])", README)) <= set(targets)


@pytest.mark.parametrize("document", [*OUTSIDE_THE_SITE, *PAGES], ids=lambda path: path.name)
def test_relative_links_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("adr", sorted((DOCS / "adr").glob("0*.md")), ids=lambda path: path.name)
def test_a_decision_has_context_decision_and_consequences(adr: Path) -> None:
    headings = re.findall(r"^## (.+)$", adr.read_text(), re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences"]
