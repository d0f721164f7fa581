"""CPU time and memory of the processes of a system, by role. Linux only.

The benchmark adopts orphans (`prctl(2)`, PR_SET_CHILD_SUBREAPER), so that all processes started
by a system stay its descendants, even if they detach. Processes are never searched for by name.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections import defaultdict
from dataclasses import dataclass

import psutil

MB = 1e6
_PR_SET_CHILD_SUBREAPER = 36
_ROLES = (
    (r"ray::ServeReplica:[^:]+:(\w+)", None),
    (r"ray::ServeController", "Serve controller"),
    (r"ray::\w*Prox\w*", "Serve proxy"),
    (r"\bhaproxy\b", "HAProxy"),
    (r"/gcs_server\b", "Ray GCS"),
    (r"/raylet\b", "raylet"),
    (r"ray::\w+Agent", "Ray agents"),
    (r"dashboard", "Ray dashboard"),
    (r"ray::IDLE|default_worker\.py", "Ray, new workers"),
    (r"ray\.serve\.scripts", "main"),
    (r"/log_monitor\.py", "Ray log monitor"),
    (r"/monitor\.py", "Ray autoscaler"),
    (r"\bray\b", "Ray, other"),
    (r"multiprocessing|_bentoml_impl\.worker", "workers"),
    (r"/mosec ", "front"),
)


@dataclass(frozen=True)
class Memory:
    """Resident memory of a role's processes, MB.

    Attributes:
        largest_rss: RSS of the largest process, with shared pages.
        pss: PSS of all processes; shared pages are divided among the sharing processes.
    """

    processes: int
    largest_rss: float
    pss: float


def adopt_orphans() -> None:
    """Make this process the parent of all orphaned descendants."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot adopt orphans")


def reap_orphans(child: int) -> None:
    """Reap the adopted processes that have ended, except `child`."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if process.pid != child and process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)


def descendants(without: int | None = None) -> list[psutil.Process]:
    """All descendants of this process, except the one with pid `without`."""
    return [p for p in psutil.Process().children(recursive=True) if p.pid != without]


def cpu_seconds(processes: list[psutil.Process]) -> dict[psutil.Process, float]:
    """User and system CPU time of each process so far, s."""
    seconds = {}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds[process] = times.user + times.system
    return seconds


def cpu_by_role(
    before: dict[psutil.Process, float], after: dict[psutil.Process, float]
) -> dict[str, float]:
    """CPU time of each role between two readings, s; the largest first."""
    spent: dict[str, float] = defaultdict(float)
    for process, seconds in after.items():
        spent[role(process)] += seconds - before.get(process, 0.0)
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


def memory_by_role(processes: list[psutil.Process]) -> dict[str, Memory]:
    """Current memory of each role; the largest first."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            memory = process.memory_full_info()
            found[role(process)].append((memory.rss / MB, memory.pss / MB))
    memories = {
        name: Memory(len(sizes), max(rss for rss, _ in sizes), sum(pss for _, pss in sizes))
        for name, sizes in found.items()
    }
    return dict(sorted(memories.items(), key=lambda item: -item[1].pss))


def role(process: psutil.Process) -> str:
    """Role of a process by its title: a Serve deployment, a component of Ray, or workers."""
    try:
        title = " ".join(process.cmdline()) or process.name()
    except psutil.NoSuchProcess:
        return "ended"
    for pattern, name in _ROLES:
        if found := re.search(pattern, title):
            return name or found[1]
    return "main"


def busy_seconds() -> float:
    """Busy CPU time of the whole machine so far, s."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def terminate(processes: list[psutil.Process], timeout_s: float) -> None:
    """Send SIGTERM, and SIGKILL after `timeout_s`."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, timeout=timeout_s)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait()
