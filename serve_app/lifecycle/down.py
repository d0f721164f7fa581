"""Stops the service of a home directory, or what is left of it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

from serve_app.errors import StartBlocked
from serve_app.home import Home
from serve_app.lifecycle import ray_session
from serve_app.lifecycle.ports import Port, find_taken_ports
from serve_app.lifecycle.run import Run, current_run, load, remove, save
from serve_app.lifecycle.signals import StopSignals
from serve_app.lifecycle.terminal import Terminal

STOPPING = "Stopping the service (Ctrl-C to force)"

# Signals and the seconds to wait after each. On SIGINT `serve run` shuts down Serve and Ray; on
# SIGTERM it aborts and leaves Serve to Ray.
SERVICE_ESCALATION = ((signal.SIGINT, 45.0), (signal.SIGTERM, 10.0))
LEFTOVER_ESCALATION = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 10.0))
LEFTOVER_EXIT_TIMEOUT_S = 5.0  # for the helper processes of an ended `serve run`
STARTER_EXIT_TIMEOUT_S = 90.0  # longer than all of the above


def stop_service(home: Home, terminal: Terminal) -> None:
    """Stop the service of a home directory, through its `serve-app up` process if that is alive.

    Raises:
        StartBlocked: A process cannot be stopped.
    """
    run = current_run(home)
    if run is None:
        if dead := load(home):
            remove(dead, home)
        terminal.print("No service is running.")
        return
    with StopSignals() as signals:
        if starter := run.starter.find():
            terminal.show_progress(f"Waiting for serve-app up (pid {starter.pid}) to stop")
            starter.terminate()
            signals.wait(STARTER_EXIT_TIMEOUT_S, until=lambda: run.starter.find() is None)
        if left := load(home):
            stop_run(left, home, terminal, signals)
        else:
            terminal.clear_progress()
            terminal.print(_describe_ports(run.ports))


def stop_run(run: Run, home: Home, terminal: Terminal, signals: StopSignals) -> None:
    """Stop all processes of a run and remove its record.

    Each signal that this process receives meanwhile skips to the next, harder signal.

    Raises:
        StartBlocked: A process cannot be stopped.
    """
    terminal.show_progress(STOPPING)
    run = run.with_processes(run.processes())
    with suppress(OSError):  # a full disk must not prevent the stop
        save(run, home)
    service = run.service
    if service and service.find():
        _escalate(SERVICE_ESCALATION, lambda: [p for p in [service.find()] if p], signals)
        signals.wait(LEFTOVER_EXIT_TIMEOUT_S, until=lambda: not run.processes())
    _escalate(LEFTOVER_ESCALATION, run.processes, signals)
    terminal.clear_progress()
    if left := run.processes():
        raise StartBlocked(f"cannot stop the processes {', '.join(str(p.pid) for p in left)}")
    if service:
        ray_session.keep_only(service.pid, home)
    remove(run, home)
    terminal.print(_describe_ports(run.ports))


def _escalate(
    escalation: Sequence[tuple[signal.Signals, float]],
    find: Callable[[], list[psutil.Process]],
    signals: StopSignals,
) -> None:
    for number, timeout_s in escalation:
        for process in find():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if signals.wait(timeout_s, until=lambda: not find()):
            return


def _describe_ports(ports: Sequence[Port]) -> str:
    if taken := find_taken_ports(ports):
        return "\n".join(["Stopped, but other processes use its ports:", *map(str, taken)])
    return f"Stopped; ports {', '.join(str(port.number) for port in ports)} are free again."
