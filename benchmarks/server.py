"""A running system: started, awaited, and ended again with everything that it started."""

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
STOP_S = 45.0  # after SIGINT; then SIGTERM
STRAGGLERS_S = 5.0  # after the end of the command, for what it started; after SIGTERM, for all
POLL_S = 0.05
LOG_LINES = 15
SERVE_APP = "serve-app"  # its home, in a folder of the start


class NotRunning(Exception):
    """A system did not come up; the text says why, with the end of its log."""


@dataclass
class Server:
    """One start of a system.

    Attributes:
        ready_s: From the start of its process to the first right answer.
        stopped_s: From SIGINT to the end of its last process; None while it runs.
        left_behind: Processes that it had not ended by then, and that were ended for it.
        home: Its SERVE_APP_HOME.
    """

    process: subprocess.Popen[bytes]
    home: Path
    ready_s: float = 0.0
    stopped_s: float | None = None
    left_behind: int = 0


@contextlib.contextmanager
def running(system: System, image: BenchmarkImage, cache: Path) -> Iterator[Server]:
    """A started system, ready to answer; ended when the block is left.

    Args:
        cache: Keeps its environment, and its log in the folder `logs`.

    Raises:
        NotRunning: A port is taken, it ended by itself, or did not answer in time.
    """
    for port in system.ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise NotRunning(f"port {port} is taken: end what listens there")
    log = cache / "logs" / f"{system.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as home, log.open("wb") as output:
        began = time.perf_counter()
        server = Server(
            _started(system, cache, Path(home), output.fileno()), Path(home) / SERVE_APP
        )
        try:
            _await_answer(system, server, image, log)
            server.ready_s = time.perf_counter() - began
            yield server
        finally:
            _stop(server)


def _started(system: System, cache: Path, home: Path, output: int) -> subprocess.Popen[bytes]:
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
        start_new_session=True,  # a Ctrl-C is ours to pass on
    )


def _await_answer(system: System, server: Server, image: BenchmarkImage, log: Path) -> None:
    body = image.body(system.sends)
    ask = httpx.Request(
        "POST",
        system.url,
        content=body.path.read_bytes(),
        headers={"Content-Type": body.content_type},
    )
    asks = [ask]
    if system.ready_path is not None:
        asks.insert(0, httpx.Request("GET", system.host + system.ready_path))
    deadline = time.monotonic() + START_S
    with httpx.Client(timeout=STOP_S, trust_env=False) as client:
        while asks:
            if _answers(client, asks[0]):
                asks.pop(0)
                continue
            processes.reap_orphans(server.process.pid)
            if (status := server.process.poll()) is not None:
                raise NotRunning(f"it ended with status {status}:\n{_tail(log)}")
            if time.monotonic() > deadline:
                raise NotRunning(f"no 200 from {asks[0].url} in {START_S:.0f} s:\n{_tail(log)}")
            time.sleep(POLL_S)


def _answers(client: httpx.Client, request: httpx.Request) -> bool:
    try:
        return client.send(request).status_code == 200
    except httpx.TransportError:
        return False


def _stop(server: Server) -> None:
    began = time.perf_counter()
    try:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGINT)
        _await_end(server, STOP_S)
    finally:
        left = processes.descendants()
        server.left_behind = len(left)
        processes.end(left, STRAGGLERS_S)
        server.process.wait()
        server.stopped_s = time.perf_counter() - began


def _await_end(server: Server, patience_s: float) -> None:
    """Until its command has ended, and for a moment longer until all that it started has."""
    deadline = time.monotonic() + patience_s
    while server.process.poll() is None and time.monotonic() < deadline:
        processes.reap_orphans(server.process.pid)
        time.sleep(POLL_S)
    deadline = time.monotonic() + STRAGGLERS_S
    while processes.descendants() and time.monotonic() < deadline:
        processes.reap_orphans(server.process.pid)
        time.sleep(POLL_S)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
