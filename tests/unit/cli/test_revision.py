from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import ROOT, Command, Running


@pytest.fixture
def three(hurried: None, command: Command, running: Running) -> None:
    """Revisions: base, a canary, and v2 for everybody."""
    for name in ("base", "canary_parallel"):
        command("deploy", ROOT / f"deploy_configs/{name}.yaml", "--reason", f"try [{name}]")
    command("update", "v2", "--method", "rolling")


@pytest.mark.usefixtures("three")
class TestRevisions:
    def test_they_are_listed_the_newest_first(self, command: Command, running: Running) -> None:
        done = command("revision", "list")
        assert (done.code, done.err) == (0, "")
        head, *rows = done.out.splitlines()
        assert head.split() == ["revision", "when", "who", "why", "rule", "stable"]
        assert [row.split()[0] for row in rows] == ["3", "2", "1"]
        assert [row.split()[-2:] for row in rows] == [
            ["single", "v2"],
            ["canary_parallel", "v1"],
            ["single", "v1"],
        ]
        assert "try [canary_parallel]" in rows[1]
        assert "2026-09-2" in rows[0]

    def test_as_many_are_listed_as_asked(self, command: Command, running: Running) -> None:
        assert len(command("revision", "list", "--limit", 1).out.splitlines()) == 2
        assert command("revision", "list", "--limit", 0).code == 2

    def test_as_json_they_are_whole(self, command: Command, running: Running) -> None:
        shown = json.loads(command("revision", "list", "--json").out)
        assert shown == running.controller.remembered[::-1]

    def test_what_came_from_outside_may_lack_a_rule(
        self, command: Command, running: Running
    ) -> None:
        running.controller.remembered[-1]["document"] = {"applications": []}
        running.controller.remembered[0]["document"] = {
            "applications": [
                {"name": "animals", "deployments": [{"name": "Ingress", "user_config": 7}]}
            ]
        }
        _, last, _, first = command("revision", "list").out.splitlines()
        assert last.split()[-2:] == first.split()[-2:] == ["-", "-"]

    def test_one_is_deployed_again_as_a_new_one(self, command: Command, running: Running) -> None:
        done = command("revision", "restore", 2)
        assert (done.code, done.err) == (0, "")
        assert done.out.splitlines() == [
            "revision 4 is deployed",
            f"rule {running.service.plane.rule.rule_id} is in force",
        ]
        assert running.service.plane.rule.kind == "canary_parallel"
        assert running.controller.deployed_by[-1][1] == "restore revision 2"

    def test_without_waiting_nothing_is_asked_afterwards(
        self, command: Command, running: Running
    ) -> None:
        running.controller.is_deaf = True
        done = command("revision", "restore", 1, "--no-wait", "--reason", "koalas bite")
        assert (done.code, done.out) == (0, "revision 4 is deployed\n")
        assert running.controller.deployed_by[-1][1] == "koalas bite"

    def test_one_that_does_not_exist_is_rejected(self, command: Command, running: Running) -> None:
        done = command("revision", "restore", 9)
        assert (done.code, done.err) == (1, "Error: there is no revision 9 (HTTP 404)")
        assert command("revision", "restore", 0).code == 2
