from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import ROOT, Command, RunningService


@pytest.fixture
def three_revisions(short_timeouts: None, command: Command, running: RunningService) -> None:
    """Three revisions: base, a canary, and v2 for all users."""
    for name in ("base", "canary_parallel"):
        command("deploy", ROOT / f"deploy_configs/{name}.yaml", "--reason", f"try [{name}]")
    command("update", "v2", "--method", "rolling")


@pytest.mark.usefixtures("three_revisions")
class TestRevisions:
    def test_revisions_are_listed_newest_first(
        self, command: Command, running: RunningService
    ) -> None:
        result = command("revision", "list")
        assert (result.code, result.err) == (0, "")
        head, *rows = result.out.splitlines()
        assert head.split() == ["revision", "time", "actor", "reason", "rule", "stable"]
        assert [row.split()[0] for row in rows] == ["3", "2", "1"]
        assert [row.split()[-2:] for row in rows] == [
            ["single", "v2"],
            ["canary_parallel", "v1"],
            ["single", "v1"],
        ]
        assert "try [canary_parallel]" in rows[1]
        assert "2026-09-2" in rows[0]

    def test_limit_bounds_the_list(self, command: Command, running: RunningService) -> None:
        assert len(command("revision", "list", "--limit", 1).out.splitlines()) == 2
        assert command("revision", "list", "--limit", 0).code == 2

    def test_json_has_the_documents(self, command: Command, running: RunningService) -> None:
        shown = json.loads(command("revision", "list", "--json").out)
        assert shown == running.controller.revision_log[::-1]

    def test_a_document_without_a_rule_is_listed(
        self, command: Command, running: RunningService
    ) -> None:
        running.controller.revision_log[-1]["document"] = {"applications": []}
        running.controller.revision_log[0]["document"] = {
            "applications": [
                {"name": "animals", "deployments": [{"name": "Ingress", "user_config": 7}]}
            ]
        }
        _, last, _, first = command("revision", "list").out.splitlines()
        assert last.split()[-2:] == first.split()[-2:] == ["-", "-"]

    def test_restore_deploys_a_new_revision(
        self, command: Command, running: RunningService
    ) -> None:
        result = command("revision", "restore", 2)
        assert (result.code, result.err) == (0, "")
        assert result.out.splitlines() == [
            "revision 4 is deployed",
            f"rule {running.service.plane.rule.rule_id} is in force",
        ]
        assert running.service.plane.rule.kind == "canary_parallel"
        assert running.controller.actors_and_reasons[-1][1] == "restore revision 2"

    def test_no_wait_returns_at_once(self, command: Command, running: RunningService) -> None:
        running.controller.ignores_deployments = True
        result = command("revision", "restore", 1, "--no-wait", "--reason", "koalas bite")
        assert (result.code, result.out) == (0, "revision 4 is deployed\n")
        assert running.controller.actors_and_reasons[-1][1] == "koalas bite"

    def test_an_unknown_revision_is_rejected(
        self, command: Command, running: RunningService
    ) -> None:
        result = command("revision", "restore", 9)
        assert (result.code, result.err) == (1, "Error: there is no revision 9 (HTTP 404)")
        assert command("revision", "restore", 0).code == 2
