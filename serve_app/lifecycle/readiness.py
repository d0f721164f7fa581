"""Waits until the service is ready, or explains why it is not."""

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
from serve_app.lifecycle.signals import StopSignals
from serve_app.lifecycle.terminal import Terminal

READY_TIMEOUT_S = 180.0
RAY_TIMED_OUT = "The current node timed out during startup"  # after 30 s, which cannot be set
POLL_S = 0.5
PROBE_TIMEOUT_S = 2.0
TAIL_LINES = 20
ANSI_COLORS = re.compile(r"\x1b\[[0-9;]*m")


class RayTimedOut(StartFailed):
    """Ray did not start in the time that it gives itself."""


def wait_until_ready(
    run: Run, file: ServeFile, home: Home, terminal: Terminal, signals: StopSignals
) -> bool:
    """Wait until all applications of the file run and `/readyz` succeeds; False if a signal came.

    Raises:
        RayTimedOut: Ray did not start.
        StartFailed: A process or deployment failed, or `READY_TIMEOUT_S` passed.
    """
    began = time.monotonic()
    state = "Starting Ray"
    with httpx.Client(trust_env=False) as client:  # no HTTP proxy for 127.0.0.1
        while not signals.count:
            terminal.show_progress(state)
            save(run.with_processes(run.processes()), home)
            if not (run.service and run.service.find()):
                raise _unexpected_end(home)
            applications = ray_api.get_applications(client)
            if applications is not None:
                state = _describe_state(applications, file)
                _raise_if_failed(applications, home)
                if _are_running(applications, file) and _is_ready(client, f"{file.url}/readyz"):
                    terminal.clear_progress()
                    terminal.print(f"Ready after {time.monotonic() - began:.0f} s.")
                    return True
            if time.monotonic() - began > READY_TIMEOUT_S:
                raise StartFailed(
                    f"not ready after {READY_TIMEOUT_S:.0f} s: {state}; {log_tail(home)}"
                )
            signals.wait(POLL_S, until=lambda: False)
    return False


def log_tail(home: Home) -> str:
    """The last lines of the log of Ray and Serve, after its path."""
    path = log_path(home)
    lines = ANSI_COLORS.sub("", path.read_text(errors="replace")).splitlines()
    return "\n".join([f"last lines of {path}:", *lines[-TAIL_LINES:]])


def _unexpected_end(home: Home) -> StartFailed:
    path = log_path(home)
    if RAY_TIMED_OUT in path.read_text(errors="replace"):
        return RayTimedOut(
            "Ray did not start within its 30 s, because the machine is too busy: start again when"
            f" it has a core to spare; the log is {path}"
        )
    return StartFailed(f"`serve run` ended unexpectedly; {log_tail(home)}")


def _describe_state(applications: tuple[Application, ...], file: ServeFile) -> str:
    """What the start waits for, in less than a line of 80 characters for the shipped files."""
    if not applications:
        return "Ray is running, starting Serve"
    if _are_running(applications, file):
        return "All replicas are running, waiting until the service is ready"
    missing = [
        str(deployment)
        for application in applications
        for deployment in application.deployments
        if deployment.running < deployment.target
    ]
    preparing = [application.name for application in applications if not application.deployments]
    return f"Waiting for {', '.join(missing + preparing) or 'Serve'}"


def _raise_if_failed(applications: tuple[Application, ...], home: Home) -> None:
    failed = [application for application in applications if application.status == "DEPLOY_FAILED"]
    if failed:
        messages = [f"{application.name}: {application.messages}" for application in failed]
        raise StartFailed("\n".join(["Serve cannot deploy", *messages, log_tail(home)]))


def _are_running(applications: tuple[Application, ...], file: ServeFile) -> bool:
    running = {application.name for application in applications if application.status == "RUNNING"}
    return running.issuperset(file.applications)


def _is_ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url, timeout=PROBE_TIMEOUT_S).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
