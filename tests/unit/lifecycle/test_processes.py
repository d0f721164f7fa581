"""The processes of a run, with real processes that sleep."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

import psutil
import pytest

from serve_app.home import Home
from serve_app.lifecycle.down import stop_run, stop_service
from serve_app.lifecycle.processes import ProcessId, find_processes, identify
from serve_app.lifecycle.run import Run, current_run, load, save
from serve_app.lifecycle.signals import StopSignals
from serve_app.lifecycle.terminal import Terminal
from tests.unit.lifecycle.conftest import fill_disk

RUN_ENVIRON = {"SERVE_APP_RUN": secrets.token_hex(8)}  # unique: tests run in parallel
# A session leader with a child without run id, like Ray's agents; {0} is run first.
SESSION = "{0} env -i sleep 60 & exec sleep 60"
IGNORE_SIGNALS = "trap '' INT TERM;"

Spawn = Callable[..., psutil.Process]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts a shell command in a new session; kills all of them at the end."""
    leaders: list[psutil.Process] = []

    def start(command: str, environ: dict[str, str]) -> psutil.Process:
        environ = {"PATH": os.environ["PATH"]} | environ
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", command], environ, setsid=True)
        leaders.append(psutil.Process(pid))
        return leaders[-1]

    yield start
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in {leader.pid for leader in leaders}:
                process.kill()
        except (psutil.Error, ProcessLookupError):
            continue
    for leader in leaders:
        leader.wait()


def child_of(leader: psutil.Process) -> psutil.Process:
    """The child of a session leader, once both run `sleep`."""
    with StopSignals() as signals:
        assert signals.wait(5, until=lambda: [leader.name(), *child_names(leader)] == ["sleep"] * 2)
    return leader.children()[0]


def sleeping(leader: psutil.Process) -> psutil.Process:
    """A session leader, once it runs `sleep`: before, its environment may be that of the tests."""
    with StopSignals() as signals:
        assert signals.wait(5, until=lambda: leader.name() == "sleep")
    return leader


def child_names(leader: psutil.Process) -> list[str]:
    return [child.name() for child in leader.children()]


def is_alive(process: psutil.Process) -> bool:
    return identify(process).find() is not None


def pids_of(found: list[psutil.Process]) -> set[int]:
    return {process.pid for process in found}


def test_a_process_with_run_id_identifies_its_session(spawn: Spawn) -> None:
    leader = spawn(SESSION.format(""), RUN_ENVIRON)
    child = child_of(leader)
    assert RUN_ENVIRON.keys().isdisjoint(child.environ())
    assert pids_of(find_processes(RUN_ENVIRON["SERVE_APP_RUN"], leader.pid)) == {
        leader.pid,
        child.pid,
    }


def test_a_process_with_run_id_is_found_outside_the_session(spawn: Spawn) -> None:
    """A process of Ray may open a new session."""
    stray = sleeping(spawn("exec sleep 60", RUN_ENVIRON))
    assert pids_of(find_processes(RUN_ENVIRON["SERVE_APP_RUN"], session=None)) == {stray.pid}


def test_processes_of_other_runs_are_not_found(spawn: Spawn) -> None:
    other = sleeping(spawn("exec sleep 60", {"SERVE_APP_RUN": "another-run"}))
    assert find_processes(RUN_ENVIRON["SERVE_APP_RUN"], session=None) == []
    assert find_processes(RUN_ENVIRON["SERVE_APP_RUN"], session=other.pid) == []


def test_a_process_without_run_id_is_found_by_its_record(spawn: Spawn) -> None:
    """Ray's two agents outlive a killed `serve run` and have no run id."""
    leader = spawn(SESSION.format(""), RUN_ENVIRON)
    child = child_of(leader)
    leader.kill()
    leader.wait()
    reused = ProcessId(child.pid, child.create_time() - 3600)
    assert find_processes(RUN_ENVIRON["SERVE_APP_RUN"], leader.pid) == []
    assert find_processes(RUN_ENVIRON["SERVE_APP_RUN"], leader.pid, [reused]) == []
    assert pids_of(find_processes(RUN_ENVIRON["SERVE_APP_RUN"], leader.pid, [identify(child)])) == {
        child.pid
    }


def test_a_process_id_finds_only_the_same_living_process() -> None:
    me = psutil.Process()
    ended = psutil.Process(os.posix_spawn("/bin/true", ["true"], {}))
    identity = identify(ended)
    assert identify(me).find() == me
    assert ProcessId(me.pid, me.create_time() + 60).find() is None
    ended.wait()
    assert identity.find() is None


def run_of(supervised_run: Run, leader: psutil.Process) -> Run:
    """A run whose starter has ended."""
    starter = ProcessId(os.getpid(), 0.0)
    return replace(
        supervised_run, id=RUN_ENVIRON["SERVE_APP_RUN"], starter=starter, service=identify(leader)
    )


def test_a_run_without_starter_is_stopped(
    spawn: Spawn,
    home: Home,
    supervised_run: Run,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve_app.lifecycle.down.LEFTOVER_EXIT_TIMEOUT_S", 0.2)  # the child stays
    leader = spawn(SESSION.format(""), RUN_ENVIRON)
    child = child_of(leader)
    save(replace(run_of(supervised_run, leader), ports=()), home)
    assert current_run(home) is not None
    stop_service(home, Terminal())
    assert not is_alive(leader)
    assert not is_alive(child)
    assert load(home) is None
    assert "Stopped" in capfd.readouterr().out


def test_processes_of_a_killed_service_are_stopped(
    spawn: Spawn, home: Home, supervised_run: Run
) -> None:
    leader = spawn(SESSION.format(""), RUN_ENVIRON)
    child = child_of(leader)
    save(run_of(supervised_run, leader).with_processes([child]), home)
    leader.kill()
    leader.wait()
    stop_service(home, Terminal())
    assert not is_alive(child)


def test_a_run_is_stopped_on_a_full_disk(
    spawn: Spawn, home: Home, supervised_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = sleeping(spawn("exec sleep 60", RUN_ENVIRON))
    save(run_of(supervised_run, leader), home)
    fill_disk(monkeypatch)
    stop_service(home, Terminal())
    assert not is_alive(leader)
    assert list(home.folder("run").iterdir()) == []


def test_each_further_signal_escalates(spawn: Spawn, home: Home, supervised_run: Run) -> None:
    """The service ignores SIGINT and SIGTERM; without escalation the stop takes a minute."""
    leader = spawn(SESSION.format(IGNORE_SIGNALS), RUN_ENVIRON)
    child_of(leader)
    with StopSignals() as signals:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
        try:
            stop_run(run_of(supervised_run, leader), home, Terminal(), signals)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    assert signals.count >= 3
    assert not is_alive(leader)


def test_stopping_without_a_run_prints_that_none_is_running(
    home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    stop_service(home, Terminal())
    assert capfd.readouterr().out == "No service is running.\n"


def test_stopping_removes_the_record_of_an_ended_run(home: Home, supervised_run: Run) -> None:
    save(replace(supervised_run, starter=ProcessId(os.getpid(), 0.0)), home)
    stop_service(home, Terminal())
    assert load(home) is None


def test_a_signal_ends_a_wait_and_an_ignored_sighup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.count == 1
            assert signals.wait(0, until=lambda: True)
            assert not signals.wait(0, until=lambda: False)
    finally:
        signal.signal(signal.SIGHUP, before)
