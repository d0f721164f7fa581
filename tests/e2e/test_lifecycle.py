"""`serve-app up` and `down` with real processes: what starts, and that nothing is left over."""

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
from serve_app.lifecycle.configuration import BASE
from serve_app.lifecycle.processes import ProcessId, identify
from serve_app.lifecycle.run import current_run, load

ROOT = Path(__file__).parents[2]
SERVE_APP = [sys.executable, "-m", "serve_app"]
READY_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 60.0

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

ProcessIds = set[ProcessId]


@dataclass
class Machine:
    """A home directory on this machine, and the commands that use it.

    Attributes:
        file: The deployment file of a minimal service, with the same processes as a full one.
        starters: The `serve-app up` processes.
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
            timeout=READY_TIMEOUT_S,
            check=False,
        )

    def up(self, *before: str) -> psutil.Process:
        """Start `serve-app up` without a terminal; `before` is a command that runs it."""
        command = [*before, shlex.join([*SERVE_APP, "up", str(self.file)])] if before else None
        with open(self.output_path, "w") as output:
            starter = psutil.Popen(
                command or [*SERVE_APP, "up", str(self.file)],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.starters.append(starter)
        wait_for(
            lambda: "Press Ctrl-C to stop." in self.output or not is_alive(starter), READY_TIMEOUT_S
        )
        assert "Press Ctrl-C to stop." in self.output, self.output
        return starter

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {"SERVE_APP_HOME": str(self.home.path), "COLUMNS": "300"}

    @property
    def output_path(self) -> Path:
        return self.home.path / "output"

    @property
    def output(self) -> str:
        return self.output_path.read_text()

    def service_processes(self) -> ProcessIds:
        """The processes of the service, found by their parents."""
        run = current_run(self.home)
        assert run is not None
        assert run.service is not None
        service = psutil.Process(run.service.pid)
        return {identify(process) for process in [service, *service.children(recursive=True)]}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine with free ports; stops all its processes at the end."""
    required = ports.required_ports(serve_file.read(BASE), os.environ)
    assert [str(taken) for taken in ports.find_taken_ports(required)] == []
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    machine = Machine(Home(tmp_path / "home"), write(tmp_path, "small", SMALL))
    yield machine
    run = load(machine.home)
    machine.command("down")
    kill(*filter(is_alive, machine.starters))  # left over by a failed test
    assert run is None or run.processes() == []


def write(folder: Path, name: str, application: str) -> Path:
    """Write an application and a deployment file that imports it."""
    (folder / f"{name}.py").write_text(application)
    file = folder / f"{name}.yaml"
    file.write_text(
        "http_options: {host: 127.0.0.1}\n"
        f"applications: [{{name: {name}, route_prefix: /, import_path: '{name}:app'}}]\n"
    )
    return file


def wait_for(condition: Callable[[], object], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def is_alive(process: psutil.Process) -> bool:
    return identify(process).find() is not None


def kill(*processes: psutil.Process) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: not any(map(is_alive, processes)), 5)
    for process in processes:
        if isinstance(process, psutil.Popen):
            process.wait()


def service_process(machine: Machine) -> psutil.Process:
    run = load(machine.home)
    assert run is not None
    assert run.service is not None
    return psutil.Process(run.service.pid)


def assert_serving() -> None:
    assert httpx.get("http://127.0.0.1:8000/readyz", trust_env=False).status_code == 200


def assert_stopped(running: ProcessIds, machine: Machine) -> None:
    """No process is alive, no port is taken, and no file but the log is left."""
    assert len(running) > 10  # Ray, Serve and HAProxy
    assert [identity for identity in running if identity.find()] == []
    pids = {identity.pid for identity in running}
    assert [c for c in psutil.net_connections("tcp") if c.pid in pids] == []
    assert ports.find_taken_ports(ports.required_ports(serve_file.read(BASE), os.environ)) == []
    assert {path.name for path in machine.home.folder("run").iterdir()} == {"serve.log", "session"}
    assert not processes_of_home(machine)


def processes_of_home(machine: Machine) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environ = process.environ()
            if "SERVE_APP_RUN" in environ and environ["SERVE_APP_HOME"] == str(machine.home.path):
                found.append(process)
    return found


def test_a_signal_stops_all_processes(machine: Machine) -> None:
    """Also for a background process of a script, which ignores SIGINT."""
    before = listening_addresses()
    shell = machine.up("bash", "-c", "$0 & wait")  # the shell does not forward signals
    assert_serving()
    assert f"cat {machine.home.path}/token" in machine.output
    assert (machine.home.path / "run" / "serve.log").stat().st_mode & 0o077 == 0
    [starter] = shell.children()
    running = machine.service_processes()
    starter.send_signal(signal.SIGINT)
    assert shell.wait(STOP_TIMEOUT_S) == 0, machine.output
    assert "are free again" in machine.output
    assert_stopped(running, machine)
    assert listening_addresses() <= before


def listening_addresses() -> set[Any]:
    return {c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def test_a_killed_starter_blocks_the_next_start_until_down(machine: Machine) -> None:
    """The service stays alive, the next start fails with its processes, `down` stops it."""
    kill(machine.up())
    assert_serving()
    running = machine.service_processes()

    rejected = machine.command("up", str(machine.file))
    assert rejected.returncode == 1
    assert re.search(r"port 8000 \(service\) is taken by pid \d+ \(haproxy\)", rejected.stderr)
    assert re.search(r"was killed and left processes .*: stop them with .* down", rejected.stderr)
    assert_serving()

    ended = machine.command("down")
    assert ended.returncode == 0, ended.stderr
    assert_stopped(running, machine)
    assert machine.command("down").stdout == "No service is running.\n"


def test_down_stops_what_is_left_after_two_kills(machine: Machine) -> None:
    """HAProxy and Ray's agents, which have no run id, may outlive both.

    The test does not depend on which processes are left.
    """
    starter = machine.up()
    running = machine.service_processes()
    kill(starter, service_process(machine))
    kill(*processes_of_home(machine))
    assert machine.command("down").returncode == 0
    assert_stopped(running, machine)


def test_a_service_that_dies_ends_the_starter(machine: Machine) -> None:
    starter = machine.up()
    running = machine.service_processes()
    kill(service_process(machine))
    assert starter.wait(STOP_TIMEOUT_S) == 1
    assert "the service ended unexpectedly; last lines of" in machine.output
    assert_stopped(running, machine)


def test_a_detached_start_returns_when_ready_and_down_stops_it(machine: Machine) -> None:
    detached = machine.command("up", str(BASE), "--detach")
    assert detached.returncode == 0, detached.stderr
    assert "Running in the background" in detached.stdout
    assert_serving()
    running = machine.service_processes()
    run = current_run(machine.home)
    assert run is not None
    assert run.is_supervised

    again = machine.command("up", str(BASE))
    assert again.returncode == 1
    assert f"was started at {run.started_at} by pid {run.starter.pid}" in again.stderr

    ended = machine.command("down")
    assert ended.returncode == 0, ended.stderr
    assert "ports 8000, 8265, 8404, 9101, 8500 are free again" in ended.stdout
    assert not run.is_supervised
    assert_stopped(running, machine)


def test_a_failed_start_prints_the_reason_and_leaves_no_process(
    machine: Machine, tmp_path: Path
) -> None:
    file = write(tmp_path, "broken", BROKEN)
    failed = machine.command("up", str(file))
    assert failed.returncode == 1
    assert "the weights of v9 are missing" in failed.stderr
    assert "are free again" in failed.stdout
    assert processes_of_home(machine) == []
    assert load(machine.home) is None


def test_a_taken_port_blocks_the_start(machine: Machine) -> None:
    with socket.create_server(("", 9101)):
        rejected = machine.command("up", str(machine.file))
    assert rejected.returncode == 1
    assert f"port 9101 (HAProxy metrics) is taken by pid {os.getpid()}" in rejected.stderr
    assert "RAY_SERVE_HAPROXY_METRICS_PORT" in rejected.stderr
    assert load(machine.home) is None
