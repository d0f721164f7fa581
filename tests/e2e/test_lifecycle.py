"""`serve-app up` and `down` with real processes: what is started, and that nothing of it stays."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from serve_app.home import Home
from serve_app.lifecycle import ports, serve_file
from serve_app.lifecycle.processes import ProcessId, identify
from serve_app.lifecycle.run import current_run, load
from serve_app.lifecycle.up import BASE

ROOT = Path(__file__).parents[2]
SERVE_APP = [sys.executable, "-m", "serve_app"]
READY_S = 240.0
STOPPED_S = 60.0

SMALL = """
from ray import serve
@serve.deployment
class Small:
    def __call__(self): return "ready"
def app(args): return Small.bind()
"""
BROKEN = """
from ray import serve
@serve.deployment
class Broken:
    def __init__(self): raise ValueError('the weights of v9 are missing')
def app(args): return Broken.bind()
"""

Running = set[ProcessId]


@dataclass
class Machine:
    """A home of the test's own on this machine, and the commands in it.

    Attributes:
        file: The deployment file of the smallest service there is: what is started and ended around
            it are the same processes.
    """

    home: Home
    file: Path
    starters: list[psutil.Popen] = field(default_factory=list)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SERVE_APP, *arguments],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=READY_S,
            check=False,
        )

    def up(self, *before: str) -> psutil.Process:
        """A starter in the foreground of nobody; `before` is what runs it, such as a shell."""
        command = [*before, shlex.join([*SERVE_APP, "up", str(self.file)])] if before else None
        with open(self.printed, "w") as printed:
            started = psutil.Popen(
                command or [*SERVE_APP, "up", str(self.file)],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
        self.starters.append(started)
        wait_for(lambda: "Ctrl-C ends it." in self.said or not lives(started), READY_S)
        assert "Ctrl-C ends it." in self.said, self.said
        return started

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {"SERVE_APP_HOME": str(self.home.path), "COLUMNS": "300"}

    @property
    def printed(self) -> Path:
        return self.home.path / "printed"

    @property
    def said(self) -> str:
        return self.printed.read_text()

    def started(self) -> Running:
        """What runs because of the starter, found by parents alone."""
        run = current_run(self.home)
        assert run is not None
        assert run.service is not None
        service = psutil.Process(run.service.pid)
        return {identify(process) for process in [service, *service.children(recursive=True)]}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Fails, and names the owner, when somebody else has our ports; leaves nothing behind."""
    needed = ports.needed(serve_file.read(BASE), os.environ)
    assert [str(taken) for taken in ports.taken(needed)] == []
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    machine = Machine(Home(tmp_path / "home"), write(tmp_path, "small", SMALL))
    yield machine
    run = load(machine.home)
    machine.command("down")
    kill(*filter(lives, machine.starters))  # those that a failing test left
    assert run is None or run.processes() == []


def write(folder: Path, name: str, application: str) -> Path:
    """An application, and the deployment file that imports it from this folder."""
    (folder / f"{name}.py").write_text(application)
    file = folder / f"{name}.yaml"
    file.write_text(
        "http_options: {host: 127.0.0.1}\n"
        f"applications: [{{name: {name}, route_prefix: /, import_path: '{name}:app'}}]\n"
    )
    return file


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def lives(process: psutil.Process) -> bool:
    return identify(process).living() is not None


def kill(*processes: psutil.Process) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: not any(map(lives, processes)), 5)
    for process in processes:
        if isinstance(process, psutil.Popen):
            process.wait()


def service_of(machine: Machine) -> psutil.Process:
    run = load(machine.home)
    assert run is not None
    assert run.service is not None
    return psutil.Process(run.service.pid)


def assert_serving() -> None:
    assert httpx.get("http://127.0.0.1:8000/readyz", trust_env=False).status_code == 200


def assert_gone(running: Running, machine: Machine) -> None:
    """No process, no port, no file but the log."""
    assert len(running) > 10  # Ray, Serve and HAProxy were seen at all
    assert [identity for identity in running if identity.living()] == []
    pids = {identity.pid for identity in running}
    assert [c for c in psutil.net_connections("tcp") if c.pid in pids] == []
    assert ports.taken(ports.needed(serve_file.read(BASE), os.environ)) == []
    assert [path.name for path in machine.home.folder("run").iterdir()] == ["serve.log"]
    assert not marked(machine)


def marked(machine: Machine) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environ = process.environ()
            if "SERVE_APP_RUN" in environ and environ["SERVE_APP_HOME"] == str(machine.home.path):
                found.append(process)
    return found


def test_ctrl_c_ends_everything_and_the_next_start_works_at_once(machine: Machine) -> None:
    """Also of a starter in the background of a script, which has SIGINT ignored."""
    before = listening()
    starter = machine.up()
    assert_serving()
    assert f"cat {machine.home.path}/token" in machine.said
    assert (machine.home.path / "run" / "serve.log").stat().st_mode & 0o077 == 0
    running = machine.started()
    starter.send_signal(signal.SIGTERM)
    assert starter.wait(STOPPED_S) == 0, machine.said
    assert "are free again" in machine.said
    assert_gone(running, machine)

    shell = machine.up("bash", "-c", "$0 & wait")  # it waits and passes nothing on
    assert_serving()
    [starter] = shell.children()
    running = machine.started()
    starter.send_signal(signal.SIGINT)
    assert shell.wait(STOPPED_S) == 0, machine.said
    assert_gone(running, machine)
    assert listening() <= before


def listening() -> set[Any]:
    return {c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def test_a_killed_starter_is_in_the_way_until_down(machine: Machine) -> None:
    """The service goes on; the next start names it; down ends it."""
    kill(machine.up())
    assert_serving()
    running = machine.started()

    rejected = machine.command("up", str(machine.file))
    assert rejected.returncode == 1
    assert re.search(r"port 8000 \(service\) is taken by pid \d+ \(haproxy\)", rejected.stderr)
    assert re.search(r"was killed and left processes .*: .* down ends them", rejected.stderr)
    assert_serving()

    ended = machine.command("down")
    assert ended.returncode == 0, ended.stderr
    assert_gone(running, machine)
    assert machine.command("down").stdout == "Nothing is running.\n"


def test_down_ends_what_is_left_of_two_kills(machine: Machine) -> None:
    """HAProxy may outlive both with its ports, and Ray's agents, which show no mark any more.

    Which of them do is a race of Ray's processes; whatever is left, down ends it.
    """
    starter = machine.up()
    running = machine.started()
    kill(starter, service_of(machine))
    kill(*marked(machine))
    assert machine.command("down").returncode == 0
    assert_gone(running, machine)


def test_a_service_that_dies_is_told_and_cleared(machine: Machine) -> None:
    starter = machine.up()
    running = machine.started()
    kill(service_of(machine))
    assert starter.wait(STOPPED_S) == 1
    assert "the service ended by itself; the end of" in machine.said
    assert_gone(running, machine)


def test_a_detached_start_returns_when_ready_and_down_ends_it(machine: Machine) -> None:
    detached = machine.command("up", str(BASE), "--detach")
    assert detached.returncode == 0, detached.stderr
    assert "It runs in the background" in detached.stdout
    assert_serving()
    running = machine.started()
    run = current_run(machine.home)
    assert run is not None
    assert run.is_attended

    again = machine.command("up", str(BASE))
    assert again.returncode == 1
    assert f"was started at {run.started_at} by pid {run.starter.pid}" in again.stderr

    ended = machine.command("down")
    assert ended.returncode == 0, ended.stderr
    assert "ports 8000, 8265, 8404, 9101, 8500 are free again" in ended.stdout
    assert not run.is_attended
    assert_gone(running, machine)


def test_a_start_that_fails_says_why_and_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    file = write(tmp_path, "broken", BROKEN)
    failed = machine.command("up", str(file))
    assert failed.returncode == 1
    assert "the weights of v9 are missing" in failed.stderr
    assert "are free again" in failed.stdout
    assert marked(machine) == []
    assert load(machine.home) is None


def test_a_taken_port_is_rejected_with_its_owner(machine: Machine) -> None:
    with socket.create_server(("", 9101)):
        rejected = machine.command("up", str(machine.file))
    assert rejected.returncode == 1
    assert f"port 9101 (HAProxy metrics) is taken by pid {os.getpid()}" in rejected.stderr
    assert "RAY_SERVE_HAPROXY_METRICS_PORT" in rejected.stderr
    assert load(machine.home) is None
