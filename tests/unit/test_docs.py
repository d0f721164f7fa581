"""What the documents say is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer import Context, Typer
from typer.core import TyperGroup
from typer.main import get_command

from serve_app.cli import app as serve_app
from training.cli import app as training

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy_configs").rglob("*.md")),
]


def commands(app: Typer) -> list[str]:
    """Every command of a typer application, such as `models list`."""
    names = list(walk(get_command(app), ()))
    assert names
    return names


def walk(command: Any, words: tuple[str, ...]) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        context = Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(child, (*words, name))
    else:
        yield " ".join(words)


@pytest.mark.parametrize("command", commands(serve_app))
def test_the_readme_names_every_command(command: str) -> None:
    assert f"serve-app {command}" in README


@pytest.mark.parametrize("command", commands(training))
def test_the_readme_names_every_command_of_training(command: str) -> None:
    assert f"-m training {command}" in README


def test_the_readme_names_only_make_targets_that_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= set(targets)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_relative_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("adr", sorted((ROOT / "docs/adr").glob("*.md")), ids=lambda p: p.name)
def test_a_decision_tells_context_decision_and_consequences(adr: Path) -> None:
    headings = re.findall(r"^## (.+)$", adr.read_text(), re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences"]
