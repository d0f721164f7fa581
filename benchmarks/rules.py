"""What each rule costs, beside `single`, on one running service.

A split has two costs, and they must not be mixed up:

- The rule's own: hashing the unit, looking at the region, planning, for a rolling canary sending
  the version with the call, which the router obeys.  **At weight 0** all of that happens, and the
  same version answers everybody in the same pool as under `single`.  The claims are about this.
- That of a second version: requests are gathered by version and pool, so two of them halve the
  batches and wake a second process.  **At weight 0.10** this comes on top; it is shown, and no
  claim is made, for it is the price of asking two networks and not of the rule that does it.

How the comparison is kept fair:

- The service starts once.  Ingress, pools and versions stay as they are, warm and of a fixed size;
  a change of the rule is a change of `user_config` in place (see `benchmarks.strategies`).  The
  candidate's replica is there under `single` as well, idle.
- A block of `single` stands between one at weight 0 and one at 0.10, and is compared with these two
  only: the machine of a minute with itself.  Every second round goes backwards.  A request costs
  least when all clients ask as fast as they can, and then a rule's part of it is largest: that is
  the load.
- All else in a rule is as its file says: the A/B test draws each request in a region and hides the
  version, so its answers are a little shorter.
- Two blocks of `single` of the same round are compared in the same way.  How far their ratio goes
  tells what the others' are worth.
- The rolling canary needs a pool of four, as in its file, so it has blocks of its own, with
  `single` over the same four.  In between, one of them is patched in place, and back.  At weight 0
  three of the four answer, and under `single` all four: with two processors no more than two are
  at work at once under either.  The candidate pool's idle replica stays, and is not asked.
- The shadow's blocks plan requests at even distances, 30 % of what `single` managed before in the
  run, and latency counts from the planned time.  The pool and the single ingress are the same under
  both.  The governor of copies first gets some seconds of that load to forget the load before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TypeVar

import yaml
from rich.console import Console

from benchmarks.environments import ROOT
from benchmarks.images import BenchmarkImage
from benchmarks.measurement import Demand, measure
from benchmarks.recording import ExposureCost
from benchmarks.report import line
from benchmarks.rule_costs import RuleBlock, RuleCosts
from benchmarks.rule_switcher import NotInForce, RuleSwitcher
from benchmarks.server import NotRunning, running
from benchmarks.strategies import (
    AB_TEST,
    MACHINERY,
    PARALLEL,
    ROLLING,
    SHADOW,
    SINGLE,
    TENTH,
    Strategy,
    fixed,
)
from benchmarks.systems import OURS, SYSTEMS, System
from serve_app.client import Client
from serve_app.errors import ServeAppError
from serve_app.home import Home

NAME = "rules"
CLIENTS = 32
PLANNED_CLIENTS = 64  # connections: more than ever wait at once at the shadow's load
SHADOW_LOAD = 0.3  # of what `single` manages
STABLE_REPLICAS = 1
ROLLING_REPLICAS = 4  # as in deploy_configs/canary_rolling.yaml
SATURATED_SETTLE_S = 5.0  # of load before the first block over pools that have just started
GOVERNOR_SETTLE_S = 12.0  # its share grows from the least to all in ten
RECORDER_INTERVAL_S = 0.5  # how often a recorder sends what it has, unless that is
RECORDER_BATCH = 500
T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """How long everything is measured; seconds."""

    rounds: int
    warm_up_s: float
    block_s: float
    shadow_block_s: float
    recording_s: float


FULL = Pace(rounds=10, warm_up_s=1.0, block_s=4.0, shadow_block_s=8.0, recording_s=1.0)
SHORT = Pace(rounds=1, warm_up_s=0.7, block_s=2.0, shadow_block_s=4.0, recording_s=0.7)


def run(costs: RuleCosts, image: BenchmarkImage, pace: Pace, cache: Path, console: Console) -> None:
    """Start the service, measure every rule, end it; what goes wrong is told in `costs`."""
    system = _system(cache)
    try:
        with (
            running(system, image, cache) as server,
            Client(system.host, Home(server.home).token) as client,
        ):
            _Measuring(costs, image, pace, RuleSwitcher(client), system, console).run()
    except (NotRunning, NotInForce, ServeAppError) as exc:
        costs.problem = str(exc)
        console.print(f"[red]rules: {exc}", highlight=False)
    if costs.saturated:
        _record(costs, pace)


def _system(cache: Path) -> System:
    """serve-app over pools of a fixed size."""
    file = cache / "rules.yaml"
    file.write_text(yaml.safe_dump(fixed(SINGLE, STABLE_REPLICAS)))
    ours = next(system for system in SYSTEMS if system.name == OURS)
    return replace(ours, name=NAME, command=(*ours.command[:-1], str(file)))


class _Measuring:
    def __init__(
        self,
        costs: RuleCosts,
        image: BenchmarkImage,
        pace: Pace,
        wheel: RuleSwitcher,
        system: System,
        console: Console,
    ) -> None:
        self._costs = costs
        self._image = image
        self._pace = pace
        self._wheel = wheel
        self._system = system
        self._console = console

    def run(self) -> None:
        self._compare((PARALLEL, AB_TEST), STABLE_REPLICAS)
        self._shadow()
        self._compare((ROLLING,), ROLLING_REPLICAS)

    def _compare(self, kinds: tuple[str, ...], stable_replicas: int) -> None:
        pace = self._pace
        demand = Demand(CLIENTS, pace.warm_up_s, pace.block_s)
        settling = replace(demand, warm_up_s=SATURATED_SETTLE_S)
        for round_ in range(pace.rounds):
            for kind in _turned(kinds, round_):
                beside = (Strategy(kind, MACHINERY), SINGLE, Strategy(kind, TENTH))
                for strategy in _turned(beside, round_):
                    self._block(kind, strategy, round_, settling, stable_replicas)
                    settling = demand

    def _shadow(self) -> None:
        rate = SHADOW_LOAD * median(block.rate for block in self._costs.saturated)
        if not rate:
            raise NotRunning("no right answer under single: nothing to compare the shadow with")
        self._costs.shadow_rate = rate
        before = self._wheel.copies()
        pace = self._pace
        demand = Demand(PLANNED_CLIENTS, pace.warm_up_s, pace.shadow_block_s, rate)
        settling = replace(demand, warm_up_s=GOVERNOR_SETTLE_S)
        for round_ in range(pace.rounds):
            for strategy in _turned((SINGLE, SHADOW), round_):
                self._block(SHADOW.kind, strategy, round_, settling, STABLE_REPLICAS)
                settling = demand
        after = self._wheel.copies()
        self._costs.copies = {outcome: after[outcome] - before[outcome] for outcome in after}

    def _block(
        self, comparison: str, strategy: Strategy, round_: int, demand: Demand, stable: int
    ) -> None:
        self._wheel.turn(strategy, stable)
        block = measure(self._system, round_, self._image, demand)
        self._costs.blocks.append(RuleBlock(comparison, strategy, block))
        self._console.print(line(block, f"{strategy.name:<28}"))


def _turned(items: tuple[T, ...], round_: int) -> Iterable[T]:
    """Backwards in every second round."""
    return items if round_ % 2 == 0 else reversed(items)


def _record(costs: RuleCosts, pace: Pace) -> None:
    """Measure recording, on as many processors at once as are busy under load."""
    rate = median(block.rate for block in costs.saturated)
    batch = max(1, min(RECORDER_BATCH, round(rate * RECORDER_INTERVAL_S)))
    command = [
        *(sys.executable, "-m", "benchmarks.recording"),
        *("--batch", str(batch), "--seconds", str(pace.recording_s)),
    ]
    for _ in range(pace.rounds):
        together = [
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
            for _ in range(os.cpu_count() or 1)
        ]
        for process in together:
            said, _ = process.communicate()
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, command)
            costs.recordings.append(ExposureCost(**json.loads(said)))
