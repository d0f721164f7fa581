"""`serve-app audit` and `serve-app export`, with a service in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import ROOT, Command, Running


@pytest.mark.usefixtures("hurried")
def test_changes_are_listed_the_newest_first(command: Command, running: Running) -> None:
    for name in ("base", "canary_parallel"):
        command("deploy", ROOT / f"deploy_configs/{name}.yaml", "--reason", f"try [{name}]")
    head, *rows = command("audit").out.splitlines()
    assert head.split() == ["when", "who", "what", "why", "details"]
    assert "try [canary_parallel]" in rows[0]
    assert '{"revision": 1}' in rows[1]
    assert len(json.loads(command("audit", "--limit", 1, "--json").out)) == 1


def test_a_table_is_written_to_a_file(command: Command, running: Running, tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    done = command("export", "exposures", path, "--since", "24h")
    assert (done.code, done.err) == (0, "")
    assert path.read_text() == "exposures since 24h"
    assert done.out == f"{path}: 19 bytes\n"


def test_a_rejection_leaves_no_file(command: Command, running: Running, tmp_path: Path) -> None:
    done = command("export", "secrets", tmp_path / "all.csv")
    assert (done.code, done.err.count("no table secrets")) == (1, 1)
    assert not (tmp_path / "all.csv").exists()


def test_other_formats_are_wrong_usage(command: Command, running: Running) -> None:
    done = command("export", "exposures", "all.xls")
    assert done.code == 2
    assert "*.parquet" in done.err
