"""`serve-app export`, with a service in this process."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import get_args

import pytest

from serve_app.cli import export
from serve_app.clock import DAY_MS, now_ms
from serve_app.store.export import TABLES
from tests.factories import adoption, batch, exposure
from tests.unit.cli.conftest import Command, RunningService


def test_a_table_is_exported_to_a_file(
    command: Command, running: RunningService, tmp_path: Path
) -> None:
    recent = exposure(1, at_ms=now_ms())
    old = exposure(2, at_ms=now_ms() - 2 * DAY_MS)
    running.control.store.record(batch(adoption("a", old.at_ms), recent, old))
    path = tmp_path / "all.csv"
    result = command("export", "exposures", path, "--since", "24h")
    assert (result.code, result.err) == (0, "")
    (row,) = csv.DictReader(path.read_text().splitlines())
    assert (row["sequence"], row["label"]) == ("1", "cat")
    assert result.out == f"{path}: {path.stat().st_size} bytes\n"


def test_the_names_of_the_tables_are_those_of_the_store() -> None:
    assert set(get_args(export.Tables)) == set(TABLES)


def test_a_file_is_replaced_only_with_force(
    command: Command, running: RunningService, tmp_path: Path
) -> None:
    path = tmp_path / "all.csv"
    path.write_text("mine")
    result = command("export", "epochs", path)
    assert (result.code, path.read_text()) == (2, "mine")
    assert "--force" in result.err
    assert command("export", "epochs", path, "--force").code == 0
    assert path.read_text().startswith("number,rule_id,")


@pytest.mark.parametrize(
    ("table", "name", "says"),
    [
        ("secrets", "all.csv", "'secrets' is not one of"),
        ("exposures", "all.xls", "expected *.csv or *.parquet"),
        ("exposures", "nowhere/all.csv", "there is no folder"),
        ("exposures", "folder.csv", "is a folder"),
    ],
)
def test_a_wrong_argument_is_a_usage_error(
    command: Command,
    running: RunningService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    name: str,
    says: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "folder.csv").mkdir()
    result = command("export", table, tmp_path / name)
    assert (result.code, says in result.err) == (2, True)
    assert [path.name for path in tmp_path.rglob("*.csv")] == ["folder.csv"]


def test_a_rejected_export_leaves_no_file(
    command: Command, running: RunningService, tmp_path: Path
) -> None:
    result = command("export", "exposures", tmp_path / "all.csv", "--since", "soon")
    assert (result.code, "since is 'soon'" in result.err) == (1, True)
    assert list(tmp_path.glob("*.csv")) == []
