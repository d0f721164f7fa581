"""`serve-app audit` and `serve-app export`, with a service in this process."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from serve_app.clock import DAY_MS, now_ms
from tests.factories import adoption, batch, exposure
from tests.unit.cli.conftest import ROOT, Command, RunningService


def test_changes_are_listed_newest_first(command: Command, running: RunningService) -> None:
    command("deploy", ROOT / "deploy_configs/canary_parallel.yaml", "--reason", "try [canary]")
    head, latest, start = command("audit").out.splitlines()
    assert head.split() == ["time", "actor", "action", "reason", "details"]
    assert "deploy" in latest
    assert "try [canary]" in latest
    assert start.split()[-3:] == ["base.yaml", '{"revision":', "1}"]
    assert len(json.loads(command("audit", "--limit", 1, "--json").out)) == 1


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


def test_a_rejected_export_leaves_no_file(
    command: Command, running: RunningService, tmp_path: Path
) -> None:
    result = command("export", "secrets", tmp_path / "all.csv")
    assert (result.code, result.err.count("no table secrets")) == (1, 1)
    assert not (tmp_path / "all.csv").exists()


def test_an_unknown_format_is_a_usage_error(command: Command, running: RunningService) -> None:
    result = command("export", "exposures", "all.xls")
    assert result.code == 2
    assert "*.parquet" in result.err
