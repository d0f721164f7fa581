"""Finds the processes of a run by its id and its session, never by name.

Every process inherits the run's id in the environment variable `SERVE_APP_RUN`. Some of Ray's
processes overwrite their environment with their title: the dashboard's modules and the two agents
of the node. All processes stay in the session of `serve run`, also after it is killed, and the
system does not reuse a session id while a process of the session lives. So a session belongs to the
run if one of its processes has the run's id, or was recorded (pid and start time) earlier.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

import psutil

from serve_app.lifecycle.environment import RUN_VARIABLE

CREATE_TIME_TOLERANCE_S = 2.0  # start times shift when the system clock is set


@dataclass(frozen=True)
class ProcessId:
    """Identifies a process also after its pid is reused."""

    pid: int
    create_time: float  # seconds since 1970

    def find(self) -> psutil.Process | None:
        """The process; None if it has ended."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if self.matches(process) and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def matches(self, process: psutil.Process) -> bool:
        """Whether a process is this one."""
        difference_s = abs(process.create_time() - self.create_time)
        return process.pid == self.pid and difference_s < CREATE_TIME_TOLERANCE_S


def identify(process: psutil.Process) -> ProcessId:
    """The id of a process; it may have ended since, because psutil caches its start time."""
    return ProcessId(process.pid, process.create_time())


def find_processes(
    run_id: str, session: int | None, recorded: Collection[ProcessId] = ()
) -> list[psutil.Process]:
    """The living processes of a run.

    Args:
        session: The session id, which is the pid of `serve run`.
        recorded: Processes of the run that were found earlier.
    """
    with_id: list[psutil.Process] = []
    without_id: list[psutil.Process] = []  # in the session
    is_own_session = False
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            in_session = os.getsid(process.pid) == session
            if _has_run_id(process, run_id):
                with_id.append(process)
                is_own_session |= in_session
            elif in_session:
                without_id.append(process)
                is_own_session |= any(identity.matches(process) for identity in recorded)
    return with_id + without_id if is_own_session else with_id


def _has_run_id(process: psutil.Process, run_id: str) -> bool:
    try:
        return process.environ().get(RUN_VARIABLE) == run_id
    except psutil.AccessDenied:
        return False
