"""The record of a run, run.json."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from serve_app.errors import BadHome
from serve_app.home import Home
from serve_app.lifecycle.processes import ProcessId, identify
from serve_app.lifecycle.run import Run, current_run, load, remove, save
from tests.unit.lifecycle.conftest import fill_disk

ENDED = ProcessId(os.getpid(), create_time=1.0)  # a process that had our pid earlier


def test_a_saved_run_is_loaded(home: Home, supervised_run: Run) -> None:
    run = replace(supervised_run, service=ProcessId(7, 8.5), recorded=(ProcessId(9, 10.25),))
    save(run, home)
    assert load(home) == run


def test_a_run_without_a_service_is_loaded(home: Home, supervised_run: Run) -> None:
    """A start may be killed before it starts the service."""
    save(supervised_run, home)
    assert load(home) == supervised_run


def test_no_record_is_no_run(home: Home) -> None:
    assert load(home) is None
    assert current_run(home) is None


def test_a_run_is_current_while_its_starter_lives(home: Home, supervised_run: Run) -> None:
    save(supervised_run, home)
    assert current_run(home) == supervised_run


def test_a_run_with_reused_pids_is_not_current(home: Home, supervised_run: Run) -> None:
    """For example after a reboot."""
    save(replace(supervised_run, starter=ENDED, service=ENDED, recorded=(ENDED,)), home)
    assert load(home) is not None
    assert current_run(home) is None


def test_remove_deletes_all_files(home: Home, supervised_run: Run) -> None:
    save(supervised_run, home)
    remove(supervised_run, home)
    assert load(home) is None
    assert not Path(supervised_run.sockets).exists()
    assert list(home.folder("run").iterdir()) == []


def test_a_full_disk_keeps_the_previous_record(
    home: Home, supervised_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(supervised_run, home)
    fill_disk(monkeypatch)
    with pytest.raises(OSError, match="No space left on device"):
        save(replace(supervised_run, service=ENDED), home)
    assert load(home) == supervised_run
    assert [path.name for path in home.folder("run").iterdir()] == ["run.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "x"}'])
def test_a_damaged_record_is_reported(home: Home, text: str) -> None:
    (home.folder("run") / "run.json").write_text(text)
    with pytest.raises(BadHome, match=r"run\.json is damaged"):
        load(home)


def test_an_ended_process_can_be_recorded(supervised_run: Run) -> None:
    """A process may end between the search and the record."""
    ended = psutil.Process(os.posix_spawn("/bin/true", ["true"], {}))
    ended.wait()
    assert supervised_run.with_processes([ended]).recorded == (identify(ended),)
