"""serve-app compared with bare Ray Serve, Ray Serve out of the box, FastAPI, LitServe, BentoML,
Mosec and MLServer; then its rules with one another, which `benchmarks.rules` describes.

    python -m benchmarks [--quick] [--json FILE] [--only NAME ...]

All of them serve the same version with the same code for pixels and network, on one machine, and
are asked about the same images.  What is done to keep the comparison honest:

- One system is up at a time: an idle Ray cluster or a polling worker takes CPU from whoever is
  measured, and the systems on Ray need the same ports.  So each system is started anew in every
  round, gets a short block of each load, and is ended; a time to be ready comes with every round.
- Rounds interleave the systems, and every second round goes backwards, so that a machine that
  grows slower or faster favours nobody.  serve-app is compared with a peer within a round; what
  is reported is the median of these ratios, and how far they went.
- A peer with an error is not compared: rejecting work is no speed.
- The clients run in a process of their own, and what they cost is in the file of `--json`; so is
  the CPU time that something else on the machine took in each block.
- serve-app scales its replicas with the load, so it is loaded for some seconds before it is
  measured under full load; the peers have from the start what they are given: two workers, or
  two replicas of each kind; out of the box, Ray Serve has one.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, is_dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil
from rich.console import Console

from benchmarks import environments, images, inprocess, processes, report, rules
from benchmarks.claims import check
from benchmarks.environments import CACHE, ROOT
from benchmarks.images import BenchmarkImage
from benchmarks.measurement import Demand, measure, measure_idle
from benchmarks.peers import VERSION
from benchmarks.results import Limit, Results, Start
from benchmarks.server import NotRunning, running
from benchmarks.systems import QUICK, SYSTEMS, System
from models import classifier

CLIENTS = (1, 32)
BATCHES = (1, 16)
ALL = tuple(system.name for system in SYSTEMS)


@dataclass(frozen=True)
class Pace:
    """How long everything is measured; seconds."""

    rounds: int
    warm_up_s: float
    block_s: float
    idle_s: float
    in_process_s: float
    rules: rules.Pace


FULL = Pace(rounds=4, warm_up_s=1.0, block_s=3.0, idle_s=10.0, in_process_s=1.0, rules=rules.FULL)
SHORT = Pace(rounds=1, warm_up_s=0.7, block_s=2.0, idle_s=5.0, in_process_s=0.7, rules=rules.SHORT)


def main() -> None:
    told = _arguments()
    pace = SHORT if told.quick else FULL
    if told.rounds:
        pace = replace(pace, rounds=told.rounds, rules=replace(pace.rules, rounds=told.rounds))
    names = told.only or (*(QUICK if told.quick else ALL), rules.NAME)
    systems = [system for system in SYSTEMS if system.name in names]
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
    signal.signal(signal.SIGTERM, _interrupted)
    processes.adopt_orphans()
    peers = [system.peer for system in systems if system.peer is not None]
    for peer in dict.fromkeys([*peers, environments.SERVING]):
        console.print(f"[dim]the environment of {peer}, in {CACHE / peer}")
        environments.prepare(peer, CACHE)
    made = images.make(CACHE / "images", classifier.load(VERSION))
    results = Results()
    try:
        for round_ in range(pace.rounds if systems else 0):
            _in_process(results, round_, made, pace)
            for system in systems if round_ % 2 == 0 else reversed(systems):
                _round(results, round_, system, made, pace, console)
        if rules.NAME in names:
            rules.run(results.rules, made[0], pace.rules, CACHE, console)
    except KeyboardInterrupt:
        console.print("[red]interrupted: everything that ran has been ended")
        sys.exit(130)
    report.write(results, console)
    if told.json is not None:
        told.json.write_text(json.dumps(_document(results, made, pace), indent=1, default=_plain))


def _round(
    results: Results,
    round_: int,
    system: System,
    made: tuple[BenchmarkImage, ...],
    pace: Pace,
    console: Console,
) -> None:
    """One start of a system with a block of each load."""
    try:
        with running(system, made[0], CACHE) as server:
            idle = measure_idle(pace.idle_s)
            for clients in CLIENTS:
                for image in made:
                    warm_up_s = pace.warm_up_s
                    if clients == CLIENTS[-1] and image == made[0]:
                        warm_up_s = max(warm_up_s, system.settle_s)
                    demand = Demand(clients, warm_up_s, pace.block_s)
                    block = measure(system, round_, image, demand)
                    results.blocks.append(block)
                    what = f"{system.name:<18}{clients:>3} x {image.name}"
                    console.print(report.line(block, what))
            memory = processes.memory_by_role(processes.descendants())
    except NotRunning as exc:
        results.starts.append(Start(system.name, round_, problem=str(exc)))
        console.print(f"[red]{system.name} did not start: {exc}")
        return
    results.starts.append(
        Start(
            system.name, round_, server.ready_s, server.stopped_s, server.left_behind, idle, memory
        )
    )


def _in_process(
    results: Results, round_: int, made: tuple[BenchmarkImage, ...], pace: Pace
) -> None:
    for image in made:
        for batch in BATCHES:
            command = [
                *(sys.executable, "-m", "benchmarks.inprocess", str(image.path)),
                *("--batch", str(batch), "--seconds", str(pace.in_process_s)),
            ]
            said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
            limit = inprocess.InProcess(**json.loads(said))
            results.limits.append(Limit(round_, image.name, limit.batch, limit.cpu_ms, limit.ms))


def _document(results: Results, made: tuple[BenchmarkImage, ...], pace: Pace) -> dict[str, Any]:
    return {
        "machine": {
            "cpus": psutil.cpu_count(),
            "memory_gb": psutil.virtual_memory().total / 1e9,
            "platform": platform.platform(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("ray", *environments.SHARED)},
        },
        "pace": pace,
        "images": made,
        "claims": list(check(results)),
        "summary": results.summary(),
        "in_process": results.limits,
        "starts": results.starts,
        "blocks": results.blocks,
        "rules": {"summary": results.rules.summary(), "measured": results.rules},
    }


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def _interrupted(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"one short round of {', '.join([*QUICK, rules.NAME])}"
    )
    parser.add_argument(
        "--rounds", type=int, help=f"instead of {FULL.rounds}, and {FULL.rules.rounds} of the rules"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=[*ALL, rules.NAME],
        help=", ".join([*ALL, rules.NAME]),
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
