"""Which processes belong to a run; with real ones that only sleep."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

import psutil
import pytest

from serve_app.home import Home
from serve_app.lifecycle.down import down, end
from serve_app.lifecycle.processes import ProcessId, identify, members
from serve_app.lifecycle.run import Run, current_run, load, save
from serve_app.lifecycle.signals import Signals
from serve_app.lifecycle.terminal import Terminal
from tests.unit.lifecycle.conftest import fill_disk

MARK = {"SERVE_APP_RUN": secrets.token_hex(8)}  # tests run side by side
# A leader with a child that shows nothing, as Ray's agents; {0} is what the leader does first.
SESSION = "{0} env -i sleep 60 & exec sleep 60"
DEAF = "trap '' INT TERM;"

Spawn = Callable[..., psutil.Process]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a shell command in a session of its own; all of them are killed at the end."""
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
    """The `sleep` beside the leader, once both are what they will be."""
    with Signals() as signals:
        assert signals.wait(5, until=lambda: [leader.name(), *names(leader)] == ["sleep"] * 2)
    return leader.children()[0]


def names(leader: psutil.Process) -> list[str]:
    return [child.name() for child in leader.children()]


def lives(process: psutil.Process) -> bool:
    return identify(process).living() is not None


def pids(found: list[psutil.Process]) -> set[int]:
    return {process.pid for process in found}


def test_one_marked_member_proves_its_whole_session(spawn: Spawn) -> None:
    leader = spawn(SESSION.format(""), MARK)
    child = child_of(leader)
    assert MARK.keys().isdisjoint(child.environ())
    assert pids(members(MARK["SERVE_APP_RUN"], leader.pid)) == {leader.pid, child.pid}


def test_a_marked_process_is_found_outside_the_session(spawn: Spawn) -> None:
    """As when something that Ray started has opened a session of its own."""
    stray = spawn("exec sleep 60", MARK)
    assert pids(members(MARK["SERVE_APP_RUN"], session=None)) == {stray.pid}


def test_other_runs_are_not_touched(spawn: Spawn) -> None:
    other = spawn("exec sleep 60", {"SERVE_APP_RUN": "of somebody else"})
    assert members(MARK["SERVE_APP_RUN"], session=None) == []
    assert members(MARK["SERVE_APP_RUN"], session=other.pid) == []


def test_what_is_left_unmarked_is_known_by_the_record_alone(spawn: Spawn) -> None:
    """Ray's two agents outlive a killed `serve run` and show no mark."""
    leader = spawn(SESSION.format(""), MARK)
    child = child_of(leader)
    leader.kill()
    leader.wait()
    reused = ProcessId(child.pid, child.create_time() - 3600)
    assert members(MARK["SERVE_APP_RUN"], leader.pid) == []
    assert members(MARK["SERVE_APP_RUN"], leader.pid, [reused]) == []
    assert pids(members(MARK["SERVE_APP_RUN"], leader.pid, [identify(child)])) == {child.pid}


def test_an_identity_is_of_the_living() -> None:
    me = psutil.Process()
    gone = psutil.Process(os.posix_spawn("/bin/true", ["true"], {}))
    identity = identify(gone)
    assert identify(me).living() == me
    assert ProcessId(me.pid, me.create_time() + 60).living() is None
    gone.wait()
    assert identity.living() is None


def run_of(attended: Run, leader: psutil.Process) -> Run:
    """A run that has lost its starter."""
    starter = ProcessId(os.getpid(), 0.0)
    return replace(attended, id=MARK["SERVE_APP_RUN"], starter=starter, service=identify(leader))


def test_down_ends_a_run_that_lost_its_starter(
    spawn: Spawn,
    home: Home,
    attended: Run,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve_app.lifecycle.down.LEAVING_S", 0.2)  # its child does not by itself
    leader = spawn(SESSION.format(""), MARK)
    child = child_of(leader)
    save(replace(run_of(attended, leader), ports=()), home)
    assert current_run(home) is not None
    down(home, Terminal())
    assert not lives(leader)
    assert not lives(child)
    assert load(home) is None
    assert "Stopped" in capfd.readouterr().out


def test_down_ends_what_is_left_of_a_killed_service(
    spawn: Spawn, home: Home, attended: Run
) -> None:
    leader = spawn(SESSION.format(""), MARK)
    child = child_of(leader)
    save(run_of(attended, leader).with_processes([child]), home)
    leader.kill()
    leader.wait()
    down(home, Terminal())
    assert not lives(child)


def test_down_ends_a_run_though_the_disk_is_full(
    spawn: Spawn, home: Home, attended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = spawn("exec sleep 60", MARK)
    save(run_of(attended, leader), home)
    fill_disk(monkeypatch)
    down(home, Terminal())
    assert not lives(leader)
    assert list(home.folder("run").iterdir()) == []


def test_each_further_signal_takes_the_next_step(spawn: Spawn, home: Home, attended: Run) -> None:
    """A service that hears neither SIGINT nor SIGTERM; without hastening this takes a minute."""
    leader = spawn(SESSION.format(DEAF), MARK)
    child_of(leader)
    with Signals() as signals:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
        try:
            end(run_of(attended, leader), home, Terminal(), signals)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    assert signals.count >= 3
    assert not lives(leader)


def test_down_without_a_run_says_so(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    down(home, Terminal())
    assert capfd.readouterr().out == "Nothing is running.\n"


def test_down_clears_the_record_of_a_run_that_is_over(home: Home, attended: Run) -> None:
    save(replace(attended, starter=ProcessId(os.getpid(), 0.0)), home)
    down(home, Terminal())
    assert load(home) is None


def test_a_signal_ends_a_wait_and_an_ignored_hangup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.count == 1
            assert signals.wait(0, until=lambda: True)
            assert not signals.wait(0, until=lambda: False)
    finally:
        signal.signal(signal.SIGHUP, before)
