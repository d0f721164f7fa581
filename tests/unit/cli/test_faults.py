"""`serve-app models fault` and `remove`, and what other commands say of test versions."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from models import registry
from models.card import Faults
from tests.unit.cli.conftest import Command

WARNING = (
    "Warning: v102 is a test version with faults on purpose: 300 ms slower, 5 % of its calls fail"
)
FAULT = ("models", "fault", "v2", "--as", "v102", "--slow-ms", "300", "--fail", "0.05")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry whose files are links to the shipped ones."""
    return Path(shutil.copytree(registry.SHIPPED, tmp_path / "r", copy_function=os.symlink))


def test_a_test_version_is_published_shown_and_removed(command: Command, folder: Path) -> None:
    published = command(*FAULT, "--registry", folder)
    assert (published.code, published.err) == (0, "")
    assert registry.load("v102", folder).card.faults == Faults(slow_ms=300, fail=0.05)
    for arguments in (("list",), ("verify", "v102")):
        shown = command("models", *arguments, "--registry", folder)
        assert (shown.code, shown.err) == (0, f"{WARNING}\n")
    assert "test version" in command("models", "show", "v102", "--registry", folder).out
    listed = json.loads(command("models", "list", "--json", "--registry", folder).out)
    assert [version["faults"] is None for version in listed] == [True, True, False]
    assert command("models", "remove", "v102", "--registry", folder).code == 0
    assert registry.names(folder) == registry.names()


@pytest.mark.parametrize("options", [("--as", "slow", "--fail", "1"), ("--as", "v102")])
def test_a_wrong_name_or_no_fault_is_a_usage_error(
    command: Command, folder: Path, options: tuple[str, ...]
) -> None:
    result = command("models", "fault", "v2", *options, "--registry", folder)
    assert result.code == 2
    assert registry.names(folder) == registry.names()


def test_a_version_is_not_replaced_nor_removed(command: Command, folder: Path) -> None:
    result = command("models", "fault", "v2", "--as", "v1", "--fail", "1", "--registry", folder)
    assert result.code == 1
    assert "exists already" in result.err
    assert "not a test version" in command("models", "remove", "v1", "--registry", folder).err
    assert registry.names(folder) == registry.names()
