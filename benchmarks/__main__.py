"""Compare serve-app with bare Ray Serve, Ray Serve out of the box, FastAPI, LitServe, BentoML,
Mosec and MLServer; then compare the rules of serve-app (see `benchmarks.rules`).

    python -m benchmarks [--quick] [--json FILE] [--only NAME ...]

All systems serve the same version with the same preprocessing and network code, on one machine, and
get the same images. To keep the comparison fair:

- Only one system runs at a time: an idle Ray cluster or a polling worker would take CPU from the
  measured system, and the systems on Ray use the same ports. In every round, each system is
  started, measured for a short block under each load, and stopped; the time to ready is measured.
- Rounds interleave the systems, and every second round runs in reverse order, so that a change of
  the machine's speed favours no system. serve-app is compared with a peer within a round; the
  report gives the median and the range of these ratios.
- A peer with errors is not compared.
- The clients run in a separate process. Their CPU time, and the CPU time of other processes on the
  machine, are in the file of `--json`.
- serve-app scales its replicas with the load, so it gets some seconds of full load before that
  measurement. The peers have a fixed size: two workers, or two replicas of each kind; Ray Serve out
  of the box has one.
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
from benchmarks.measurement import LoadProfile, measure, measure_idle
from benchmarks.peers import VERSION
from benchmarks.results import Limit, Results, Start
from benchmarks.server import NotRunning, run_system
from benchmarks.systems import QUICK, SYSTEMS, System
from models import classifier

CLIENTS = (1, 32)
BATCHES = (1, 16)
ALL = tuple(system.name for system in SYSTEMS)


@dataclass(frozen=True)
class Pace:
    """Number of rounds and durations of the measurements, s."""

    rounds: int
    warm_up_s: float
    block_s: float
    idle_s: float
    in_process_s: float
    rules: rules.Pace


FULL = Pace(rounds=4, warm_up_s=1.0, block_s=3.0, idle_s=10.0, in_process_s=1.0, rules=rules.FULL)
SHORT = Pace(rounds=1, warm_up_s=0.7, block_s=2.0, idle_s=5.0, in_process_s=0.7, rules=rules.SHORT)


def main() -> None:
    arguments = _parse_arguments()
    pace = SHORT if arguments.quick else FULL
    if arguments.rounds:
        pace = replace(
            pace, rounds=arguments.rounds, rules=replace(pace.rules, rounds=arguments.rounds)
        )
    names = arguments.only or (*(QUICK if arguments.quick else ALL), rules.NAME)
    systems = [system for system in SYSTEMS if system.name in names]
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's `&` makes a process ignore it
    signal.signal(signal.SIGTERM, _raise_interrupt)
    processes.adopt_orphans()
    peers = [system.peer for system in systems if system.peer is not None]
    for peer in dict.fromkeys([*peers, environments.SERVING]):
        console.print(f"[dim]preparing the environment of {peer} in {CACHE / peer}")
        environments.prepare(peer, CACHE)
    benchmark_images = images.make_images(CACHE / "images", classifier.load(VERSION))
    results = Results()
    try:
        for round_ in range(pace.rounds if systems else 0):
            _measure_in_process(results, round_, benchmark_images, pace)
            for system in systems if round_ % 2 == 0 else reversed(systems):
                _run_round(results, round_, system, benchmark_images, pace, console)
        if rules.NAME in names:
            rules.run(results.rules, benchmark_images[0], pace.rules, CACHE, console)
    except KeyboardInterrupt:
        console.print("[red]interrupted: all started processes were stopped")
        sys.exit(130)
    report.print_report(results, console)
    if arguments.json is not None:
        arguments.json.write_text(
            json.dumps(_document(results, benchmark_images, pace), indent=1, default=_to_json)
        )


def _run_round(
    results: Results,
    round_: int,
    system: System,
    benchmark_images: tuple[BenchmarkImage, ...],
    pace: Pace,
    console: Console,
) -> None:
    """Start a system, measure a block under each load, stop it."""
    try:
        with run_system(system, benchmark_images[0], CACHE) as server:
            idle = measure_idle(pace.idle_s)
            for clients in CLIENTS:
                for image in benchmark_images:
                    warm_up_s = pace.warm_up_s
                    if clients == CLIENTS[-1] and image == benchmark_images[0]:
                        warm_up_s = max(warm_up_s, system.settle_s)
                    profile = LoadProfile(clients, warm_up_s, pace.block_s)
                    block = measure(system, round_, image, profile)
                    results.blocks.append(block)
                    description = f"{system.name:<18}{clients:>3} x {image.name}"
                    console.print(report.format_block(block, description))
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


def _measure_in_process(
    results: Results, round_: int, benchmark_images: tuple[BenchmarkImage, ...], pace: Pace
) -> None:
    for image in benchmark_images:
        for batch in BATCHES:
            command = [
                *(sys.executable, "-m", "benchmarks.inprocess", str(image.path)),
                *("--batch", str(batch), "--seconds", str(pace.in_process_s)),
            ]
            output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
            limit = inprocess.InProcess(**json.loads(output))
            results.limits.append(Limit(round_, image.name, limit.batch, limit.cpu_ms, limit.ms))


def _document(
    results: Results, benchmark_images: tuple[BenchmarkImage, ...], pace: Pace
) -> dict[str, Any]:
    return {
        "machine": {
            "cpus": psutil.cpu_count(),
            "memory_gb": psutil.virtual_memory().total / 1e9,
            "platform": platform.platform(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("ray", *environments.SHARED)},
        },
        "pace": pace,
        "images": benchmark_images,
        "claims": list(check(results)),
        "summary": results.summary(),
        "in_process": results.limits,
        "starts": results.starts,
        "blocks": results.blocks,
        "rules": {"summary": results.rules.summary(), "measured": results.rules},
    }


def _to_json(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def _raise_interrupt(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    raise KeyboardInterrupt


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"one short round of {', '.join([*QUICK, rules.NAME])}"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        help=f"number of rounds; default {FULL.rounds}, for the rules {FULL.rules.rounds}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements to FILE")
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
