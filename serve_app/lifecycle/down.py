"""The end of a run, whoever started it and whatever of it is left."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

from serve_app.errors import StartBlocked
from serve_app.home import Home
from serve_app.lifecycle.ports import Port, taken
from serve_app.lifecycle.run import Run, current_run, forget, load, save
from serve_app.lifecycle.signals import Signals
from serve_app.lifecycle.terminal import Terminal

# Which signal, and how many seconds until the next. Told by SIGINT, `serve run` shuts Serve and
# Ray down; by SIGTERM it aborts and leaves Serve to Ray.
SERVICE_ESCALATION = ((signal.SIGINT, 45.0), (signal.SIGTERM, 10.0))
LEFTOVER_ESCALATION = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 10.0))
LEAVING_S = 5.0  # how long the last helpers of an ended `serve run` may take to leave
STARTER_S = 90.0  # longer than all of the above


def down(home: Home, terminal: Terminal) -> None:
    """End what runs in this home: through the `serve-app up` that waits with it, if one does.

    Raises:
        StartBlocked: Something cannot be ended.
    """
    run = current_run(home)
    if run is None:
        if dead := load(home):
            forget(dead, home)
        terminal.say("Nothing is running.")
        return
    with Signals() as signals:
        if starter := run.starter.living():
            terminal.doing(f"Asking pid {starter.pid} to end the service")
            starter.terminate()
            signals.wait(STARTER_S, until=lambda: run.starter.living() is None)
        if left := load(home):
            end(left, home, terminal, signals)
        else:
            terminal.done()
            terminal.say(_freed(run.ports))


def end(run: Run, home: Home, terminal: Terminal, signals: Signals) -> None:
    """End all processes of a run and forget it; each further signal takes the next, harder step.

    Raises:
        StartBlocked: Something cannot be ended.
    """
    terminal.doing("Stopping the service; Ctrl-C hastens it")
    run = run.with_processes(run.processes())
    with suppress(OSError):  # a full disk keeps nothing alive
        save(run, home)
    service = run.service
    if service and service.living():
        _escalate(SERVICE_ESCALATION, lambda: [p for p in [service.living()] if p], signals)
        signals.wait(LEAVING_S, until=lambda: not run.processes())
    _escalate(LEFTOVER_ESCALATION, run.processes, signals)
    terminal.done()
    if left := run.processes():
        raise StartBlocked(
            f"these processes cannot be ended: {', '.join(str(p.pid) for p in left)}"
        )
    forget(run, home)
    terminal.say(_freed(run.ports))


def _escalate(
    escalation: Sequence[tuple[signal.Signals, float]],
    find: Callable[[], list[psutil.Process]],
    signals: Signals,
) -> None:
    for number, patience_s in escalation:
        for process in find():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if signals.wait(patience_s, until=lambda: not find()):
            return


def _freed(ports: Sequence[Port]) -> str:
    if busy := taken(ports):
        return "\n".join(["Stopped, but others have our ports now:", *map(str, busy)])
    return f"Stopped; ports {', '.join(str(port.number) for port in ports)} are free again."
