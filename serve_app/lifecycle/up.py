"""Starts the service, waits until it is ready, supervises it and stops it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil

from serve_app.errors import NotRunning, StartBlocked
from serve_app.home import Home
from serve_app.lifecycle import configuration, ports, ray_token
from serve_app.lifecycle.down import STOPPING, stop_run
from serve_app.lifecycle.environment import check_environment
from serve_app.lifecycle.launch import create_run, launch
from serve_app.lifecycle.ports import Port, TakenPort
from serve_app.lifecycle.processes import identify
from serve_app.lifecycle.readiness import RayTimedOut, log_tail, wait_until_ready
from serve_app.lifecycle.run import Run, current_run, load, log_path, save
from serve_app.lifecycle.serve_file import ServeFile
from serve_app.lifecycle.signals import StopSignals
from serve_app.lifecycle.terminal import Terminal
from serve_app.lifecycle.welcome import cli_command, welcome_text

RECORD_INTERVAL_S = 10.0  # between two records of the processes of a running service


def start_service(
    path: Path | None, home: Home, terminal: Terminal, actor: str, detach: bool = False
) -> None:
    """Start the service, supervise it until a stop signal, then stop all its processes.

    Args:
        path: A Serve configuration file; by default, see `configuration.choose`.
        actor: Who starts it, for the audit log.
        detach: Return when the service is ready; a background process supervises it.

    Raises:
        BadConfig: The file is rejected.
        StartBlocked: A port is taken, processes of an earlier start are alive, or see
            `configuration.choose`.
        StartFailed: The service did not get ready; its processes have been stopped.
        KeyboardInterrupt: A stop signal came before the service was ready.
        NotRunning: The service ended unexpectedly; its processes have been stopped.
    """
    check_environment(os.environ, home)
    leftover = current_run(home)
    if leftover and leftover.is_supervised:
        raise StartBlocked(describe_blockers(leftover, ()))
    chosen = configuration.choose(path, home)
    file = chosen.file
    required = ports.required_ports(file, os.environ)
    taken = ports.find_taken_ports(required)
    if blockers := describe_blockers(leftover, taken):
        raise StartBlocked(blockers)
    for sentence in chosen.sentences:
        terminal.print(sentence)
    if ray_token.protect():
        path = ray_token.token_path()
        terminal.print(f"Other users could read Ray's token until now: {path} is mode 0600.")
    configuration.record(chosen, home, actor)
    stopping = partial(terminal.show_progress, STOPPING)
    with StopSignals(stopping) as signals:
        try:
            _run_service(file, required, home, terminal, signals, detach)
        except RayTimedOut:
            if signals.count:
                raise
            terminal.print("Ray did not start within its 30 s: trying once more.")
            _run_service(file, required, home, terminal, signals, detach)


def _run_service(
    file: ServeFile,
    required: tuple[Port, ...],
    home: Home,
    terminal: Terminal,
    signals: StopSignals,
    detach: bool,
) -> None:
    """Start the service and supervise it; stops all its processes at the end. See
    `start_service`."""
    with ExitStack() as stack:
        run = create_run(file, required, home)
        stack.callback(lambda: stop_run(load(home) or run, home, terminal, signals))
        run = launch(run, home)
        if not wait_until_ready(run, file, home, terminal, signals):
            raise KeyboardInterrupt
        terminal.print(welcome_text(file.url, home))
        if detach and _fork_supervisor(run, home):
            stack.pop_all()
            terminal.print(f"Running in the background; stop it with {cli_command()} down.")
        else:
            terminal.print("Press Ctrl-C to stop.")
            _supervise(run, home, signals)


def describe_blockers(run: Run | None, taken: Sequence[TakenPort]) -> str | None:
    """Why the service cannot start, and what to do; None if it can start.

    Args:
        run: The run of the home directory, if it has living processes.
        taken: The required ports that are taken.
    """
    if run and run.is_supervised:
        return (
            f"the service of this home directory was started at {run.started_at} by pid"
            f" {run.starter.pid} from {run.file}: stop it with {cli_command()} down"
        )
    lines = [f"{port}\n  {_remedy(port)}" for port in taken]
    if run:
        pids = ", ".join(str(process.pid) for process in run.processes())
        lines.append(
            f"the service started at {run.started_at} was killed and left processes ({pids}):"
            f" stop them with {cli_command()} down"
        )
    return "\n".join(lines) or None


def _remedy(taken: TakenPort) -> str:
    if taken.owner and taken.owner.home:
        return (
            f"it belongs to a serve-app service: stop it with {cli_command(taken.owner.home)} down"
        )
    end = "end the process"
    return f"{end}, or change {taken.port.setting}" if taken.port.setting else end


def _fork_supervisor(run: Run, home: Home) -> bool:
    """Fork a background process that supervises the service; True in the parent process."""
    pid = os.fork()
    if pid:
        save(replace(load(home) or run, starter=identify(psutil.Process(pid))), home)
        return True
    os.setsid()
    with open(os.devnull) as null, open(log_path(home), "a") as log:
        os.dup2(null.fileno(), sys.stdin.fileno())
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    return False


def _supervise(run: Run, home: Home, signals: StopSignals) -> None:
    """Record the processes of the service until a stop signal comes.

    Raises:
        NotRunning: The service ended unexpectedly.
    """
    run = replace(load(home) or run, starter=identify(psutil.Process()))
    while not signals.count:
        with suppress(OSError):  # a full disk; the next record may succeed
            save(run.with_processes(run.processes()), home)
        has_ended = signals.wait(
            RECORD_INTERVAL_S, until=lambda: not (run.service and run.service.find())
        )
        if has_ended:
            raise NotRunning(f"the service ended unexpectedly; {log_tail(home)}")
