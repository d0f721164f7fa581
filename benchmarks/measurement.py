"""Measures one system under one load: results of the clients and CPU time of the processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import IO

from benchmarks import processes
from benchmarks.environments import ROOT
from benchmarks.images import BenchmarkImage
from benchmarks.load import Load
from benchmarks.systems import System


@dataclass(frozen=True)
class LoadProfile:
    """Load of a block; see `benchmarks.load`.

    Attributes:
        rate: Requests per second at even intervals; None: closed loop.
    """

    clients: int
    warm_up_s: float
    seconds: float
    rate: float | None = None


@dataclass(frozen=True)
class Block:
    """Measurements of one block of load.

    Attributes:
        cpu_s: CPU time of the system in the measured time, by role.
        elsewhere: CPUs used by other processes of the machine.
    """

    system: str
    round: int
    clients: int
    image: str
    load: Load
    cpu_s: dict[str, float]
    elsewhere: float

    @property
    def rate(self) -> float:
        """Correct responses per second."""
        return self.load.answers / self.load.seconds

    @property
    def cpu_ms(self) -> dict[str, float]:
        """CPU time per request by role, ms; empty without responses."""
        count = self.load.answers
        return {role: 1e3 * s / count for role, s in self.cpu_s.items()} if count else {}


def measure(system: System, round_: int, image: BenchmarkImage, profile: LoadProfile) -> Block:
    """Measure a running system under load.

    Raises:
        RuntimeError: The load generator fails.
    """
    body = image.body(system.request_format)
    command = [
        *(sys.executable, "-m", "benchmarks.load", system.url, str(body.path), image.label),
        *("--content-type", body.content_type, "--clients", str(profile.clients)),
        *("--warm-up", str(profile.warm_up_s), "--seconds", str(profile.seconds)),
        *(() if profile.rate is None else ("--rate", str(profile.rate))),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as generator:
        assert generator.stdout is not None
        try:
            _read_marker(generator.stdout, "began")
            busy = processes.busy_seconds()
            before = processes.cpu_seconds(processes.descendants(without=generator.pid))
            _read_marker(generator.stdout, "ended")
            after = processes.cpu_seconds(processes.descendants(without=generator.pid))
            busy = processes.busy_seconds() - busy
            load = Load(**json.loads(generator.stdout.readline()))
        finally:
            generator.terminate()
    cpu_s = processes.cpu_by_role(before, after)
    elsewhere = (busy - sum(cpu_s.values()) - load.cpu_s) / load.seconds
    return Block(
        system=system.name,
        round=round_,
        clients=profile.clients,
        image=image.name,
        load=load,
        cpu_s=cpu_s,
        elsewhere=max(0.0, elsewhere),
    )


def measure_idle(seconds: float) -> dict[str, float]:
    """CPU use of an idle system by role, as a share of a core.

    Waits for `seconds` before the measurement, because a system is not idle right after its start.
    """
    time.sleep(seconds)
    before = processes.cpu_seconds(processes.descendants())
    time.sleep(seconds)
    spent = processes.cpu_by_role(before, processes.cpu_seconds(processes.descendants()))
    return {role: cpu_s / seconds for role, cpu_s in spent.items()}


def _read_marker(lines: IO[str], marker: str) -> None:
    if (line := lines.readline().strip()) != marker:
        raise RuntimeError(f"the load generator printed {line!r} instead of {marker!r}")
