"""What the commands that change the configuration have in common."""

from __future__ import annotations

import getpass
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from serve_app.cli.changing import new_change
from serve_app.client import Client
from serve_app.control_plane.changes import SetRule
from serve_app.home import Home
from tests.factories import adoption, batch, exposure
from tests.unit.cli.conftest import ROOT, Command, CommandResult, RunningService
from tests.unit.service import PARALLEL, SINGLE

UPDATE = ("update", "v2", "--method", "rolling")
SHADOW = str(ROOT / "deploy_configs/shadow.yaml")
# Every command that changes the configuration, and its default reason.
COMMANDS = {
    ("deploy", SHADOW): f"deploy {SHADOW}",
    ("rule", "set", SHADOW): "rule shadow",
    UPDATE: "rolling update to v2",
    ("update", "v2", "--method", "recreate"): "recreate update to v2",
    ("revision", "restore", "1"): "restore revision 1",
}
each_command = pytest.mark.parametrize(
    "arguments", COMMANDS, ids=lambda arguments: f"{arguments[0]} {arguments[-1].split('/')[-1]}"
)
NEVER_SERVED = "Warning: v2 has never served a user\n"
SetRuleCommand = Callable[..., CommandResult]


@pytest.fixture
def set_rule(command: Command, tmp_path: Path) -> SetRuleCommand:
    """Runs `serve-app rule set` with the content of a rule."""

    def run(rule: dict[str, Any], *options: str) -> CommandResult:
        file = tmp_path / "rule.yaml"
        file.write_text(yaml.safe_dump({"rule": rule}))
        return command("rule", "set", file, *options)

    return run


class Terminal(io.StringIO):
    """A terminal at which a user types lines; `before_answer` is called before each one."""

    def __init__(self, *lines: str, before_answer: Callable[[], object] = lambda: None) -> None:
        super().__init__("".join(f"{line}\n" for line in lines))
        self._before_answer = before_answer

    def isatty(self) -> bool:
        return True

    def readline(self, *args: Any) -> str:  # type: ignore[override]
        self._before_answer()
        return super().readline(*args)


class TestConfirmation:
    def test_a_change_for_all_users_is_confirmed_on_a_terminal(
        self, command: Command, running: RunningService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal("y"))
        result = command(*UPDATE)
        assert (result.code, result.err) == (0, NEVER_SERVED)
        assert result.out.splitlines()[1].startswith(
            "all users change from v1 to v2. Continue? [y/N]: "
        )
        assert running.service.plane.rule.versions == {"stable": "v2"}

    @pytest.mark.parametrize("lines", [("n",), ("",), ()], ids=["no", "default", "end of file"])
    def test_a_change_that_is_not_confirmed_is_not_made(
        self,
        command: Command,
        running: RunningService,
        monkeypatch: pytest.MonkeyPatch,
        lines: tuple[str, ...],
    ) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal(*lines))
        result = command(*UPDATE)
        assert (result.code, result.err.endswith("Aborted.\n")) == (1, True)
        assert running.control.revisions == []

    @pytest.mark.parametrize(
        ("stdin", "options"),
        [(Terminal(), ("--yes",)), (Terminal(), ("--dry-run",)), (io.StringIO(), ())],
        ids=["yes", "dry run", "no terminal"],
    )
    def test_nobody_is_asked(
        self,
        command: Command,
        running: RunningService,
        monkeypatch: pytest.MonkeyPatch,
        stdin: io.StringIO,
        options: tuple[str, ...],
    ) -> None:
        monkeypatch.setattr(sys, "stdin", stdin)
        result = command(*UPDATE, *options)
        assert (result.code, "Continue?" in result.out) == (0, False)

    def test_a_change_for_some_users_is_not_confirmed(
        self, set_rule: SetRuleCommand, running: RunningService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal())
        assert set_rule(PARALLEL).code == 0
        assert running.service.plane.rule.kind == "canary_parallel"

    def test_a_revision_that_was_deployed_during_the_question_is_not_overwritten(
        self, command: Command, running: RunningService, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def deploy_another() -> None:
            with Client(running.url, home.token) as client:
                client.apply(new_change(SetRule, "another", rule=PARALLEL))

        monkeypatch.setattr(sys, "stdin", Terminal("y", before_answer=deploy_another))
        result = command(*UPDATE)
        assert result.code == 1
        assert result.err.splitlines()[-1] == (
            "Error: revision 2 was deployed after revision 1: look at it, then repeat the change"
            " (HTTP 409)"
        )
        assert [revision.reason for revision in running.control.revisions] == ["another"]


class TestPreview:
    @each_command
    def test_a_dry_run_changes_nothing(
        self,
        command: Command,
        running: RunningService,
        set_rule: SetRuleCommand,
        arguments: tuple[str, ...],
    ) -> None:
        set_rule(PARALLEL)
        before = running.control.store.audit(100)
        result = command(*arguments, "--dry-run")
        assert result.code == 0
        sentences = result.out.partition("\nkeys that differ:")[0].splitlines()
        assert sentences[-1].startswith(("rule: ", "CandidatePool: ", "the data"))
        assert len(running.control.cluster.deployed) == len(running.control.revisions) == 1
        assert running.control.store.audit(100) == before

    @pytest.mark.parametrize(
        ("present", "arguments", "changes", "warnings"),
        [
            pytest.param(
                SINGLE,
                PARALLEL | {"weight": 0.4},
                [
                    "experiment: none → koala-canary",
                    "rule: all requests get v1 → 40 % of users get v2, all others v1",
                    "CandidatePool: starts v2",
                ],
                ["the canary gets 0.4 of the units: at most 0.35 is recommended"],
                id="new canary",
            ),
            pytest.param(
                PARALLEL,
                PARALLEL | {"weight": 0.1},
                ["rule: 30 % of users get v2, all others v1 → 10 % of users get v2, all others v1"],
                [],
                id="weight",
            ),
            pytest.param(
                PARALLEL,
                UPDATE,
                [
                    "all users: v1 → v2",
                    "experiment: koala-canary → none",
                    "rule: 30 % of users get v2, all others v1 → all requests get v2",
                    "CandidatePool: no longer needed",
                ],
                ["v2 has never served a user"],
                id="promotion",
            ),
            pytest.param(
                SINGLE | {"stable": "v2"},
                SINGLE,
                ["all users: v2 → v1"],
                ["v1 does not know koala, which v2 does", "v1 has never served a user"],
                id="labels that vanish",
            ),
            pytest.param(
                SINGLE,
                ("update", "v1", "--method", "recreate"),
                ["the data plane is torn down and built again: requests fail meanwhile"],
                [],
                id="recreate",
            ),
        ],
    )
    def test_the_changes_and_warnings_are_printed(
        self,
        command: Command,
        set_rule: SetRuleCommand,
        running: RunningService,
        present: dict[str, Any],
        arguments: dict[str, Any] | tuple[str, ...],
        changes: list[str],
        warnings: list[str],
    ) -> None:
        assert set_rule(present, "--change-stable").code == 0
        if isinstance(arguments, dict):
            result = set_rule(arguments, "--change-stable", "--dry-run")
        else:
            result = command(*arguments, "--dry-run")
        assert result.code == 0
        assert result.out.partition("\nkeys that differ:")[0].splitlines() == changes
        assert result.err.splitlines() == [f"Warning: {warning}" for warning in warnings]

    def test_a_dry_run_lists_the_keys_that_differ(
        self, set_rule: SetRuleCommand, running: RunningService
    ) -> None:
        set_rule(PARALLEL | {"weight": 0.3})
        result = set_rule(PARALLEL | {"weight": 0.1}, "--dry-run")
        assert result.out.splitlines()[-2:] == [
            "keys that differ:",
            "animals.Ingress.user_config.rule.weight: 0.3 → 0.1",
        ]

    def test_a_version_that_has_served_users_is_no_warning(
        self, command: Command, running: RunningService
    ) -> None:
        served = exposure(1, assigned="v2", served="v2", error=None)
        running.control.store.record(batch(adoption("a", served.at_ms), served))
        assert command(*UPDATE, "--dry-run").err == ""


def test_an_interrupted_wait_says_what_stays_and_how_to_revert_it(
    command: Command, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Client) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "status", interrupt)
    result = command(*UPDATE)
    assert result.code == 130
    assert result.err.splitlines()[-1] == (
        "Note: revision 2 stays deployed: serve-app status shows whether it is in force,"
        " serve-app revision restore 1 reverts it"
    )


@each_command
@pytest.mark.parametrize("options", [(), ("--reason", "koalas")], ids=["default", "reason"])
@pytest.mark.usefixtures("short_timeout")
def test_without_waiting_the_change_is_recorded_with_its_reason(
    command: Command,
    running: RunningService,
    set_rule: SetRuleCommand,
    arguments: tuple[str, ...],
    options: tuple[str, ...],
) -> None:
    set_rule(PARALLEL)
    running.control.cluster.is_frozen = True
    result = command(*arguments, "--no-wait", *options)
    assert result.code == 0
    assert result.out.splitlines()[-1].startswith("revision 3 with rule ")
    assert running.control.actors_and_reasons[-1] == (
        getpass.getuser(),
        options[-1] if options else COMMANDS[arguments],
    )


def test_a_user_without_a_name_is_recorded_by_number(
    command: Command, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", _raise_no_name)
    command(*UPDATE)
    assert running.control.actors_and_reasons[0][0] == f"user {os.getuid()}"


def _raise_no_name() -> str:
    raise KeyError("getpwuid(): uid not found: 1000730000")
