"""Which processes a start has started; never found by their name.

Every process inherits the run's id in its environment, `SERVE_APP_RUN`. Some of Ray's write their
title over it: the dashboard's modules and the two agents of the node. But all stay in the session
that `serve run` opened, also when it is killed, and a session's number is not given out again
while one member lives. So one member that is known to be ours proves all: it shows the id, or it
was recorded, pid and start, while it did.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

import psutil

from serve_app.lifecycle.environment import RUN_VARIABLE

CLOCK_STEP_S = 2.0  # how far the start of one process may seem to move when the clock is set


@dataclass(frozen=True)
class ProcessId:
    """A process for good: the system gives its pid to another one later."""

    pid: int
    create_time: float  # seconds since 1970

    def living(self) -> psutil.Process | None:
        """The process, while it runs."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if self.is_of(process) and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def is_of(self, process: psutil.Process) -> bool:
        apart_s = abs(process.create_time() - self.create_time)
        return process.pid == self.pid and apart_s < CLOCK_STEP_S


def identify(process: psutil.Process) -> ProcessId:
    """psutil reads the start when it makes a Process, so one that has ended has it as well."""
    return ProcessId(process.pid, process.create_time())


def members(
    run_id: str, session: int | None, recorded: Collection[ProcessId] = ()
) -> list[psutil.Process]:
    """The living processes of a run.

    Args:
        session: The pid of its `serve run`, which opened the session.
        recorded: Processes that were found before.
    """
    marked: list[psutil.Process] = []
    unmarked: list[psutil.Process] = []
    proven = False
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            inside = os.getsid(process.pid) == session
            if _shows(process, run_id):
                marked.append(process)
                proven |= inside
            elif inside:
                unmarked.append(process)
                proven |= any(identity.is_of(process) for identity in recorded)
    return marked + unmarked if proven else marked


def _shows(process: psutil.Process, run_id: str) -> bool:
    try:
        return process.environ().get(RUN_VARIABLE) == run_id
    except psutil.AccessDenied:
        return False
