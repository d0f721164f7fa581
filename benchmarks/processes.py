"""What the processes of a system cost: CPU time and memory, by role.  Linux only.

The benchmark adopts orphans (`prctl(2)`, PR_SET_CHILD_SUBREAPER), so that whatever a system starts,
however often its processes detach from one another, stays below the benchmark in the process tree.
Nothing is ever searched for by name.
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
        largest_rss: Of its largest process, pages shared with others included.
        pss: Of all of them, each shared page split among those who share it.
    """

    processes: int
    largest_rss: float
    pss: float


def adopt_orphans() -> None:
    """Make this process the parent of all descendants whose own parent ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot adopt orphans")


def reap_orphans(child: int) -> None:
    """Forget the adopted processes that have ended; `child` is left to whoever started it."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if process.pid != child and process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)


def descendants(without: int | None = None) -> list[psutil.Process]:
    """All processes below this one; `without` is the pid of one that is left out."""
    return [p for p in psutil.Process().children(recursive=True) if p.pid != without]


def cpu_seconds(processes: list[psutil.Process]) -> dict[psutil.Process, float]:
    """CPU time of each so far, user and system, s."""
    seconds = {}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds[process] = times.user + times.system
    return seconds


def cpu_by_role(
    before: dict[psutil.Process, float], after: dict[psutil.Process, float]
) -> dict[str, float]:
    """CPU time that each role spent between two readings, s; the largest first."""
    spent: dict[str, float] = defaultdict(float)
    for process, seconds in after.items():
        spent[role(process)] += seconds - before.get(process, 0.0)
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


def memory_by_role(processes: list[psutil.Process]) -> dict[str, Memory]:
    """Memory of each role now; the largest first."""
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
    """What a process is for, by its title: a Serve deployment's name, a part of Ray, workers."""
    try:
        title = " ".join(process.cmdline()) or process.name()
    except psutil.NoSuchProcess:
        return "ended"
    for pattern, name in _ROLES:
        if found := re.search(pattern, title):
            return name or found[1]
    return "main"


def busy_seconds() -> float:
    """CPU time that the whole machine has spent on anything, s."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def end(processes: list[psutil.Process], patience_s: float) -> None:
    """SIGTERM, and SIGKILL for those who do not listen."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, timeout=patience_s)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait()
