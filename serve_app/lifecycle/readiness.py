"""Waiting until the service is ready, and saying why when it does not get so."""

from __future__ import annotations

import re
import time

import httpx

from serve_app.errors import StartFailed
from serve_app.home import Home
from serve_app.lifecycle import ray_api
from serve_app.lifecycle.ray_api import Application
from serve_app.lifecycle.run import Run, log_path, save
from serve_app.lifecycle.serve_file import ServeFile
from serve_app.lifecycle.signals import Signals
from serve_app.lifecycle.terminal import Terminal

READY_S = 180.0
POLL_S = 0.5
PROBE_S = 2.0  # for one answer of the service
TAIL_LINES = 20
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def wait_until_ready(
    run: Run, file: ServeFile, home: Home, terminal: Terminal, signals: Signals
) -> None:
    """Wait until every application of the file runs and the service says that it is ready.

    Raises:
        StartFailed: It cannot get ready, takes longer than `READY_S`, or shall end.
    """
    began = time.monotonic()
    state = "Ray starts"
    with httpx.Client(trust_env=False) as client:  # a proxy of the environment is not for 127.0.0.1
        while not signals.count:
            terminal.doing(state)
            save(run.with_processes(run.processes()), home)
            if not (run.service and run.service.living()):
                raise StartFailed(f"`serve run` ended by itself; {log_tail(home)}")
            known = ray_api.applications(client)
            if known is not None:
                state = _state(known, file)
                _check(known, home)
                if _run(known, file) and _answers(client, f"{file.url}/readyz"):
                    terminal.done()
                    terminal.say(f"Ready after {time.monotonic() - began:.0f} s.")
                    return
            if time.monotonic() - began > READY_S:
                raise StartFailed(f"not ready after {READY_S:.0f} s: {state}; {log_tail(home)}")
            signals.wait(POLL_S, until=lambda: False)
    raise StartFailed("told to end before the service was ready")


def log_tail(home: Home) -> str:
    """The end of what Ray and Serve have printed, with its place."""
    path = log_path(home)
    lines = COLOURS.sub("", path.read_text(errors="replace")).splitlines()
    return "\n".join([f"the end of {path}:", *lines[-TAIL_LINES:]])


def _state(known: tuple[Application, ...], file: ServeFile) -> str:
    if not known:
        return "Ray is up, Serve starts"
    if _run(known, file):
        return "The applications run, the service gets ready"
    return f"Deploying {', '.join(map(str, known))}"


def _check(known: tuple[Application, ...], home: Home) -> None:
    failed = [application for application in known if application.status == "DEPLOY_FAILED"]
    if failed:
        complaints = [f"{application.name}: {application.complaint}" for application in failed]
        raise StartFailed("\n".join(["Serve cannot deploy", *complaints, log_tail(home)]))


def _run(known: tuple[Application, ...], file: ServeFile) -> bool:
    running = {application.name for application in known if application.status == "RUNNING"}
    return running.issuperset(file.applications)


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url, timeout=PROBE_S).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
