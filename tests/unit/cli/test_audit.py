"""`serve-app audit` and `serve-app export`, with a service in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import ROOT, Command, RunningService


@pytest.mark.usefixtures("short_timeouts")
def test_changes_are_listed_newest_first(command: Command, running: RunningService) -> None:
    for name in ("base", "canary_parallel"):
        command("deploy", ROOT / f"deploy_configs/{name}.yaml", "--reason", f"try [{name}]")
    head, *rows = command("audit").out.splitlines()
    assert head.split() == ["time", "actor", "action", "reason", "details"]
    assert "try [canary_parallel]" in rows[0]
    assert '{"revision": 1}' in rows[1]
    assert len(json.loads(command("audit", "--limit", 1, "--json").out)) == 1


def test_a_table_is_exported_to_a_file(
    command: Command, running: RunningService, tmp_path: Path
) -> None:
    path = tmp_path / "all.csv"
    result = command("export", "exposures", path, "--since", "24h")
    assert (result.code, result.err) == (0, "")
    assert path.read_text() == "exposures since 24h"
    assert result.out == f"{path}: 19 bytes\n"


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
