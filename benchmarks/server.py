"""Starts a system, waits until it is ready, and stops it with all its processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks import processes
from benchmarks.environments import ROOT, executables
from benchmarks.images import BenchmarkImage
from benchmarks.systems import System
from serve_app.home import HOME_VARIABLE

START_S = 120.0
STOP_S = 45.0  # timeout after SIGINT; then SIGTERM
STRAGGLERS_S = 5.0  # timeout for child processes after the command ends, and after SIGTERM
POLL_S = 0.05
LOG_LINES = 15
SERVE_APP = "serve-app"  # home directory, in a temporary folder


class NotRunning(Exception):
    """A system did not start; the text has the reason and the end of its log."""


@dataclass
class Server:
    """One start of a system.

    Attributes:
        ready_s: Time from the start of the process to the first correct response.
        stopped_s: Time from SIGINT to the end of its last process; None while it runs.
        left_behind: Processes that were still running and had to be terminated.
        home: Its SERVE_APP_HOME.
    """

    process: subprocess.Popen[bytes]
    home: Path
    ready_s: float = 0.0
    stopped_s: float | None = None
    left_behind: int = 0


@contextlib.contextmanager
def run_system(system: System, image: BenchmarkImage, cache: Path) -> Iterator[Server]:
    """Start a system, yield when it is ready, stop it at the end of the context.

    Args:
        cache: Folder of its environment, and of its log in `logs`.

    Raises:
        NotRunning: A port is in use, the system ended, or it was not ready in time.
    """
    for port in system.ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise NotRunning(f"port {port} is in use: stop the process that listens on it")
    log = cache / "logs" / f"{system.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as home, log.open("wb") as output:
        started = time.perf_counter()
        server = Server(
            _start_process(system, cache, Path(home), output.fileno()), Path(home) / SERVE_APP
        )
        try:
            _wait_until_ready(system, server, image, log)
            server.ready_s = time.perf_counter() - started
            yield server
        finally:
            _stop(server)


def _start_process(system: System, cache: Path, home: Path, output: int) -> subprocess.Popen[bytes]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    program, *arguments = system.command
    return subprocess.Popen(
        [executables(system.peer, cache) / program, *arguments],
        cwd=ROOT,
        env={
            **inherited,
            **system.environment,
            "PYTHONPATH": str(ROOT),
            HOME_VARIABLE: str(home / SERVE_APP),
            "BENTOML_HOME": str(home / "bentoml"),
        },
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # Ctrl-C must not reach it directly
    )


def _wait_until_ready(system: System, server: Server, image: BenchmarkImage, log: Path) -> None:
    body = image.body(system.request_format)
    request = httpx.Request(
        "POST",
        system.url,
        content=body.path.read_bytes(),
        headers={"Content-Type": body.content_type},
    )
    pending = [request]
    if system.ready_path is not None:
        pending.insert(0, httpx.Request("GET", system.host + system.ready_path))
    deadline = time.monotonic() + START_S
    with httpx.Client(timeout=STOP_S, trust_env=False) as client:
        while pending:
            if _is_answered(client, pending[0]):
                pending.pop(0)
                continue
            processes.reap_orphans(server.process.pid)
            if (status := server.process.poll()) is not None:
                raise NotRunning(f"it exited with status {status}:\n{_tail(log)}")
            if time.monotonic() > deadline:
                raise NotRunning(f"no 200 from {pending[0].url} in {START_S:.0f} s:\n{_tail(log)}")
            time.sleep(POLL_S)


def _is_answered(client: httpx.Client, request: httpx.Request) -> bool:
    try:
        return client.send(request).status_code == 200
    except httpx.TransportError:
        return False


def _stop(server: Server) -> None:
    started = time.perf_counter()
    try:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGINT)
        _wait_for_exit(server, STOP_S)
    finally:
        left = processes.descendants()
        server.left_behind = len(left)
        processes.terminate(left, STRAGGLERS_S)
        server.process.wait()
        server.stopped_s = time.perf_counter() - started


def _wait_for_exit(server: Server, timeout_s: float) -> None:
    """Wait for the end of the command, then shortly for the end of its child processes."""
    deadline = time.monotonic() + timeout_s
    while server.process.poll() is None and time.monotonic() < deadline:
        processes.reap_orphans(server.process.pid)
        time.sleep(POLL_S)
    deadline = time.monotonic() + STRAGGLERS_S
    while processes.descendants() and time.monotonic() < deadline:
        processes.reap_orphans(server.process.pid)
        time.sleep(POLL_S)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
