from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import ROOT, Command, RunningService


@pytest.fixture(autouse=True)
def _three_revisions(command: Command, running: RunningService) -> None:
    """Base, a canary, and v2 for all users, which is in force."""
    command("deploy", ROOT / "deploy_configs/canary_parallel.yaml", "--reason", "try [canary]")
    command("update", "v2", "--method", "rolling")
    asyncio.run(running.control.plane.record_convergence())


def test_revisions_are_listed_newest_first(command: Command, running: RunningService) -> None:
    running.control.store.set_in_force(1, 1_700_000_000_000)
    result = command("revision", "list")
    assert (result.code, result.err) == (0, "")
    head, *rows = (line.split() for line in result.out.splitlines())
    assert head == ["revision", "time", "change", "state", "rule", "actor", "reason"]
    facts = [" ".join((row[0], *row[3:])) for row in rows]  # without the time
    actor = running.control.revisions[0].actor
    assert facts == [
        f"3 update in force all requests get v2 {actor} rolling update to v2",
        f"2 deploy was in force 10 % of users get v2, all others v1 {actor} try [canary]",
        "1 start was in force all requests get v1 root up base.yaml",
    ]


def test_limit_bounds_the_list(command: Command) -> None:
    (latest,) = json.loads(command("revision", "list", "--limit", 1, "--json").out)
    assert (latest["number"], latest["in_force"], latest["rule"]["stable"]) == (3, True, "v2")
    assert command("revision", "list", "--limit", 0).code == 2


def test_a_revision_is_shown(command: Command, running: RunningService) -> None:
    result = command("revision", "show", 2)
    assert (result.code, result.err) == (0, "")
    facts = dict(line.strip().split(maxsplit=1) for line in result.out.splitlines())
    assert facts["reason"].strip() == "try [canary]"
    assert facts["rule"].strip() == "10 % of users get v2, all others v1"
    shown = json.loads(command("revision", "show", 2, "--json").out)
    assert shown["document"] == running.control.revisions[0].document


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_yaml_of_a_revision_can_be_deployed(
    command: Command, running: RunningService, tmp_path: Path, number: int
) -> None:
    command("revision", "restore", number)
    file = tmp_path / "revision.yaml"
    file.write_text(command("revision", "show", number, "--yaml").out)
    result = command("deploy", file)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("nothing changes: this configuration is deployed already\n")


def test_two_revisions_are_compared(command: Command) -> None:
    result = command("revision", "diff", 1, 3)
    assert (result.code, result.err) == (0, "")
    assert [line.split() for line in result.out.splitlines()] == [
        ["key", "revision", "1", "revision", "3"],
        ["animals.Ingress.user_config.rule.stable", '"v1"', '"v2"'],
        ["animals.StablePool.user_config.version", '"v1"', '"v2"'],
    ]
    to_canary = command("revision", "diff", 1, 2).out.splitlines()
    assert ["animals.Ingress.user_config.rule.weight", "-", "0.1"] in map(str.split, to_canary)
    assert command("revision", "diff", 2, 2).out == "revisions 2 and 2 are the same\n"


def test_restore_deploys_a_new_revision(command: Command, running: RunningService) -> None:
    result = command("revision", "restore", 2)
    assert result.code == 0
    rule = running.service.plane.rule
    assert result.out.splitlines() == [
        "all users: v2 → v1",
        "experiment: none → koala-canary",
        "rule: all requests get v2 → 10 % of users get v2, all others v1",
        "CandidatePool: starts v2",
        f"revision 4 with rule {rule.rule_id} is deployed",
        f"rule {rule.rule_id} is in force",
    ]
    assert rule.kind == "canary_parallel"


@pytest.mark.parametrize("arguments", [("restore", 9), ("show", 9), ("diff", 1, 9)])
def test_an_unknown_revision_is_rejected(command: Command, arguments: tuple[str, ...]) -> None:
    result = command("revision", *arguments)
    assert (result.code, result.err) == (
        1,
        "Error: there is no revision 9: serve-app revision list shows them (HTTP 404)",
    )
    assert command("revision", arguments[0], 0).code == 2
