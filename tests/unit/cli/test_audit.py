"""`serve-app audit`, with a service in this process."""

from __future__ import annotations

import json

from tests.unit.cli.conftest import ROOT, Command, RunningService


def test_changes_are_listed_newest_first(command: Command, running: RunningService) -> None:
    command("deploy", ROOT / "deploy_configs/canary_parallel.yaml", "--reason", "try [canary]")
    head, latest, start = command("audit").out.splitlines()
    assert head.split() == ["time", "actor", "action", "reason", "details"]
    assert "deploy" in latest
    assert "try [canary]" in latest
    assert start.split()[-3:] == ["base.yaml", '{"revision":', "1}"]
    assert len(json.loads(command("audit", "--limit", 1, "--json").out)) == 1
