"""The start: reject what is in the way, start, wait until ready, stay, end it all."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import psutil

from models import registry
from serve_app.deployment import config
from serve_app.deployment.experiments import Experiments
from serve_app.domain import CONTROL_PLANE, DATA_PLANE
from serve_app.errors import NotRunning, StartBlocked
from serve_app.home import Home
from serve_app.lifecycle import ports, serve_file
from serve_app.lifecycle.down import end
from serve_app.lifecycle.launch import announce, launch
from serve_app.lifecycle.ports import TakenPort
from serve_app.lifecycle.processes import identify
from serve_app.lifecycle.readiness import log_tail, wait_until_ready
from serve_app.lifecycle.run import Run, current_run, load, log_path, save
from serve_app.lifecycle.signals import Signals
from serve_app.lifecycle.terminal import Terminal
from serve_app.lifecycle.welcome import ROOT, command, welcome

BASE = ROOT / "deploy_configs" / "base.yaml"
RECORD_S = 10.0  # how often the processes are recorded while the service runs


def up(path: Path, home: Home, terminal: Terminal, detach: bool = False) -> None:
    """Start the service and stay with it until told to end; then end all that was started.

    Args:
        path: A Serve configuration file.
        detach: Return when it is ready; a process in the background stays with it.

    Raises:
        BadConfig: The file is rejected.
        StartBlocked: A port is taken, or an earlier start lives.
        StartFailed: It did not get ready; nothing of it is left.
        NotRunning: It ended by itself; nothing of it is left.
    """
    file = serve_file.read(path)
    if {DATA_PLANE, CONTROL_PLANE} <= set(file.applications):
        _check(path, home)
    needed = ports.needed(file, os.environ)
    if found := obstacle(current_run(home), ports.taken(needed)):
        raise StartBlocked(found)
    with Signals() as signals, ExitStack() as stack:
        run = announce(file, needed, home)
        stack.callback(lambda: end(load(home) or run, home, terminal, signals))
        run = launch(run, home)
        wait_until_ready(run, file, home, terminal, signals)
        terminal.say(welcome(file.url, home))
        if detach and _left_to_a_fork(run, home):
            stack.pop_all()
            terminal.say(f"It runs in the background; {command()} down ends it.")
        else:
            terminal.say("Ctrl-C ends it.")
            _stay(run, home, signals)


def obstacle(run: Run | None, busy: Sequence[TakenPort]) -> str | None:
    """Why the service cannot be started, if so, and what to do.

    Args:
        run: The run of this home that still lives.
        busy: The ports that are taken.
    """
    if run and run.is_attended:
        return (
            f"the service of this home was started at {run.started_at} by pid {run.starter.pid}"
            f" from {run.file}: {command()} down ends it"
        )
    lines = [f"{port}\n  {_remedy(port)}" for port in busy]
    if run:
        pids = ", ".join(str(process.pid) for process in run.processes())
        lines.append(
            f"the start of {run.started_at} was killed and left processes ({pids}):"
            f" {command()} down ends them"
        )
    return "\n".join(lines) or None


def _check(path: Path, home: Home) -> None:
    """The rule and the pools: a wrong rule would be held aside, and an earlier one be in force.

    Raises:
        BadConfig: The file is rejected.
    """
    document = config.read(path)
    rule = config.check(document, registry.names(config.registry_folder(document)))
    Experiments(home.folder("experiments")).check(rule)


def _remedy(busy: TakenPort) -> str:
    if busy.owner and busy.owner.home:
        return f"left by an earlier start, or still served: {command(busy.owner.home)} down ends it"
    return f"end it, or change {busy.port.moved_by}" if busy.port.moved_by else "end it"


def _left_to_a_fork(run: Run, home: Home) -> bool:
    """Whether this is the process that the user waits for; the other one goes on."""
    pid = os.fork()
    if pid:
        save(replace(load(home) or run, starter=identify(psutil.Process(pid))), home)
        return True
    os.setsid()
    with open(os.devnull) as nothing, open(log_path(home), "a") as log:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    return False


def _stay(run: Run, home: Home, signals: Signals) -> None:
    """Until told to end.

    Raises:
        NotRunning: The service ended by itself.
    """
    run = replace(load(home) or run, starter=identify(psutil.Process()))
    while not signals.count:
        with suppress(OSError):  # a full disk may have room the next time
            save(run.with_processes(run.processes()), home)
        if signals.wait(RECORD_S, until=lambda: not (run.service and run.service.living())):
            raise NotRunning(f"the service ended by itself; {log_tail(home)}")
