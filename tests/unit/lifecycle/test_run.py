"""run.json."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from serve_app.errors import BadHome
from serve_app.home import Home
from serve_app.lifecycle.processes import ProcessId, identify
from serve_app.lifecycle.run import Run, current_run, forget, load, save
from tests.unit.lifecycle.conftest import fill_disk

GONE = ProcessId(os.getpid(), create_time=1.0)  # an earlier owner of our pid


def test_a_run_survives_its_file(home: Home, attended: Run) -> None:
    run = replace(attended, service=ProcessId(7, 8.5), recorded=(ProcessId(9, 10.25),))
    save(run, home)
    assert load(home) == run


def test_a_run_without_a_service_survives_too(home: Home, attended: Run) -> None:
    """The state in which a start is that was killed at once."""
    save(attended, home)
    assert load(home) == attended


def test_nothing_recorded_is_no_run(home: Home) -> None:
    assert load(home) is None
    assert current_run(home) is None


def test_a_run_is_current_while_its_starter_lives(home: Home, attended: Run) -> None:
    save(attended, home)
    assert current_run(home) == attended


def test_a_run_whose_pids_belong_to_others_now_is_over(home: Home, attended: Run) -> None:
    """As after a reboot."""
    save(replace(attended, starter=GONE, service=GONE, recorded=(GONE,)), home)
    assert load(home) is not None
    assert current_run(home) is None


def test_forgetting_leaves_no_files(home: Home, attended: Run) -> None:
    save(attended, home)
    forget(attended, home)
    assert load(home) is None
    assert not Path(attended.sockets).exists()
    assert list(home.folder("run").iterdir()) == []


def test_a_full_disk_leaves_the_record_before(
    home: Home, attended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(attended, home)
    fill_disk(monkeypatch)
    with pytest.raises(OSError, match="No space left on device"):
        save(replace(attended, service=GONE), home)
    assert load(home) == attended
    assert [path.name for path in home.folder("run").iterdir()] == ["run.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "x"}'])
def test_a_damaged_record_is_said_to_be_so(home: Home, text: str) -> None:
    (home.folder("run") / "run.json").write_text(text)
    with pytest.raises(BadHome, match=r"run\.json is damaged"):
        load(home)


def test_a_process_that_has_ended_can_still_be_recorded(attended: Run) -> None:
    """It may end between being found and being recorded."""
    gone = psutil.Process(os.posix_spawn("/bin/true", ["true"], {}))
    gone.wait()
    assert attended.with_processes([gone]).recorded == (identify(gone),)
