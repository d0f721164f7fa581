"""One system under one load, seen from outside: the clients' figures and the processes' costs."""

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
class Demand:
    """What the clients of a block do; see `benchmarks.load`.

    Attributes:
        rate: Requests a second at even distances; None asks as fast as the answers come.
    """

    clients: int
    warm_up_s: float
    seconds: float
    rate: float | None = None


@dataclass(frozen=True)
class Block:
    """What one block of load showed.

    Attributes:
        cpu_s: CPU time of the system in the measured time, by role.
        elsewhere: CPUs that neither the system nor the clients used: what disturbed the block.
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
        """Right answers a second."""
        return self.load.answers / self.load.seconds

    @property
    def cpu_ms(self) -> dict[str, float]:
        """CPU time of a request by role, ms; empty without an answer."""
        answers = self.load.answers
        return {role: 1e3 * s / answers for role, s in self.cpu_s.items()} if answers else {}


def measure(system: System, round_: int, image: BenchmarkImage, demand: Demand) -> Block:
    """Load a running system; RuntimeError if the load generator fails."""
    body = image.body(system.sends)
    command = [
        *(sys.executable, "-m", "benchmarks.load", system.url, str(body.path), image.label),
        *("--content-type", body.content_type, "--clients", str(demand.clients)),
        *("--warm-up", str(demand.warm_up_s), "--seconds", str(demand.seconds)),
        *(() if demand.rate is None else ("--rate", str(demand.rate))),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as generator:
        assert generator.stdout is not None
        try:
            _expect(generator.stdout, "began")
            busy = processes.busy_seconds()
            before = processes.cpu_seconds(processes.descendants(without=generator.pid))
            _expect(generator.stdout, "ended")
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
        clients=demand.clients,
        image=image.name,
        load=load,
        cpu_s=cpu_s,
        elsewhere=max(0.0, elsewhere),
    )


def measure_idle(seconds: float) -> dict[str, float]:
    """The share of a core that each role's processes take while nothing happens.

    A start is followed by some seconds of settling, which are waited for first.
    """
    time.sleep(seconds)
    before = processes.cpu_seconds(processes.descendants())
    time.sleep(seconds)
    spent = processes.cpu_by_role(before, processes.cpu_seconds(processes.descendants()))
    return {role: cpu_s / seconds for role, cpu_s in spent.items()}


def _expect(lines: IO[str], word: str) -> None:
    if (line := lines.readline().strip()) != word:
        raise RuntimeError(f"the load generator said {line!r} instead of {word!r}")
