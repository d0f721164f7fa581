"""The previous revision is restored, whatever ends the changes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models import registry
from models.card import Faults
from models.errors import BadVersion
from models.faults import remove_test_version
from serve_app.cli import temporary_changes
from serve_app.cli.changing import new_change
from serve_app.cli.temporary_changes import TemporaryChanges, restoring
from serve_app.client import Client
from serve_app.control_plane.changes import ConfigChange, Restore, SetRule
from serve_app.errors import NotRunning
from serve_app.home import Home
from tests.unit.cli.conftest import RunningService
from tests.unit.service import PARALLEL, SINGLE

RULE = PARALLEL | {"experiment": "some", "candidate": "v2"}


@pytest.fixture
def client(running: RunningService, home: Home) -> Iterator[Client]:
    with Client(running.url, home.token) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry of the service: a copy made of links, for a test version."""
    shutil.copytree(
        registry.SHIPPED,
        tmp_path / "r",
        ignore=shutil.ignore_patterns("v1?*"),
        copy_function=os.symlink,
    )
    monkeypatch.setattr(registry, "SHIPPED", tmp_path / "r")
    return tmp_path / "r"


def lose_response(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """The next change is made, but its response does not come."""
    apply, errors = Client.apply, [error]

    def apply_and_raise(client: Client, change: ConfigChange) -> dict[str, Any]:
        applied = apply(client, change)
        if errors:
            raise errors.pop()
        return applied

    monkeypatch.setattr(Client, "apply", apply_and_raise)


def fail_restoring(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    apply = Client.apply

    def apply_or_raise(client: Client, change: ConfigChange) -> dict[str, Any]:
        if isinstance(change, Restore):
            raise error
        return apply(client, change)

    monkeypatch.setattr(Client, "apply", apply_or_raise)


@pytest.mark.parametrize("error", [NotRunning("no response"), KeyboardInterrupt()])
def test_a_change_whose_response_is_lost_is_restored(
    client: Client, running: RunningService, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    lose_response(monkeypatch, error)
    with pytest.raises(type(error)), restoring(client) as changes:
        changes.set_rule(RULE, "some")
    assert running.service.plane.rule.kind == "single"
    assert client.status()["revision"] == 3


def test_a_change_that_was_not_made_needs_no_restoration(
    client: Client, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, Any]:
        raise NotRunning("no response")

    monkeypatch.setattr(Client, "apply", fail)
    with pytest.raises(NotRunning), restoring(client) as changes:
        changes.set_rule(RULE, "some")
    assert running.control.revisions == []


def test_changes_by_others_after_a_lost_response_stay(
    client: Client,
    running: RunningService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lose_response(monkeypatch, NotRunning("no response"))
    changes = TemporaryChanges(client)
    with pytest.raises(NotRunning):
        changes.set_rule(RULE, "some")
    rule = SINGLE | {"stable": "v2"}
    client.apply(new_change(SetRule, "by another", rule=rule, change_stable=True))
    assert not changes.restore()
    assert running.service.plane.rule.versions == {"stable": "v2"}
    assert capsys.readouterr().err == (
        "Warning: revision 1 is not restored (revision 3 was deployed in the meantime):"
        " serve-app revision restore 1\n"
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotRunning("no response"), "no response"),
        (BadVersion("damaged"), "damaged"),
        (OSError("full"), "full"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(143), "interrupted"),
    ],
)
def test_a_failed_restoration_exits_with_1_and_says_the_commands(
    client: Client,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    reason: str,
) -> None:
    def change() -> None:
        with restoring(client) as changes:
            changes.add_test_version("v2", "v103", Faults(fail=0.5))
            changes.set_rule(RULE, "some")

    fail_restoring(monkeypatch, error)
    with pytest.raises(SystemExit) as exited:
        change()
    assert exited.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        f"Warning: revision 1 is not restored ({reason}): serve-app revision restore 1",
        f"Warning: the test version v103 is not removed ({reason}): serve-app models remove v103",
    ]
    assert "v103" in registry.names(folder)


def test_only_the_test_versions_that_are_left_are_named(
    client: Client,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def remove_first(name: str, registry: Path) -> None:
        if name == "v104":
            raise OSError("read-only")
        remove_test_version(name, registry)

    monkeypatch.setattr(temporary_changes, "remove_test_version", remove_first)
    changes = TemporaryChanges(client)
    for name in ("v103", "v104"):
        changes.add_test_version("v2", name, Faults(fail=0.5))
    assert not changes.restore()
    assert capsys.readouterr().err == (
        "Warning: the test version v104 is not removed (read-only): serve-app models remove v104\n"
    )
    assert registry.names(folder) == ("v1", "v2", "v104")


@pytest.mark.parametrize("code", [130, 143])
def test_the_exit_code_of_an_interrupt_stays(
    client: Client, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def change_and_exit() -> None:
        with restoring(client) as changes:
            changes.set_rule(RULE, "some")
            sys.exit(code)

    fail_restoring(monkeypatch, NotRunning("no response"))
    with pytest.raises(SystemExit) as exited:
        change_and_exit()
    assert exited.value.code == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_previous_revision(
    client: Client, running: RunningService, number: signal.Signals
) -> None:
    def change_until_signal() -> None:
        with restoring(client) as changes:
            changes.set_rule(RULE, "some")
            signal.raise_signal(number)

    previous = signal.getsignal(number)
    with pytest.raises(SystemExit) as exited:
        change_until_signal()
    assert exited.value.code == 128 + number
    assert running.service.plane.rule.kind == "single"
    assert signal.getsignal(number) == previous


def test_a_wait_during_an_update_prints_nothing(
    client: Client, running: RunningService, capsys: pytest.CaptureFixture[str]
) -> None:
    with restoring(client) as changes:
        capsys.readouterr()
        changes.update("v2", "some")
        assert running.service.plane.rule.versions == {"stable": "v2"}
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", "")
