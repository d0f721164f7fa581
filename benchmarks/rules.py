"""Costs of each rule compared with `single`, on one running service.

A split has two kinds of costs:

- The rule itself: hash the unit, check the region, choose the version and, for a rolling canary,
  route the call to a replica of that version. **At weight 0** all of this happens, but the same
  version in the same pool serves all requests, as under `single`. The targets are for this.
- The second version: requests are batched by version and pool, so two versions halve the batches
  and use a second process. **At weight 0.10** this is added; it is reported without a target,
  because it is the cost of two networks and not of the rule.

To keep the comparison fair:

- The service starts once. Ingress, pools and versions stay warm and of a fixed size; a change of
  the rule changes only `user_config` in place (see `benchmarks.strategies`). The candidate's
  replica also runs, idle, under `single`.
- A block of `single` lies between one at weight 0 and one at 0.10 and is compared only with these
  two, so the machine hardly changes in between. Every second round runs in reverse order. The load
  is a closed loop: a request then costs least, so the share of the rule is largest.
- The rest of a rule is as in its file: the A/B test assigns each request in one region and hides
  the version, so its responses are slightly shorter.
- Two blocks of `single` of the same round are compared in the same way; the range of their ratio
  shows the noise.
- The rolling canary needs a pool of four replicas, as in its file, so it has separate blocks of
  `single` with the same pool. Between blocks one replica is patched in place and back. At weight 0
  three of the four replicas serve, under `single` all four; with two processors at most two work
  at once in both cases. The replica of the candidate pool stays idle.
- The blocks of the shadow schedule requests at even intervals, at 30 % of the rate of `single`
  earlier in the run; latency counts from the scheduled time. Both sides use the same pool and one
  ingress. Before the first block, the governor gets some seconds of this load to adapt.
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
from benchmarks.measurement import LoadProfile, measure
from benchmarks.recording import ExposureCost
from benchmarks.report import format_block
from benchmarks.rule_costs import RuleBlock, RuleCosts
from benchmarks.rule_switcher import NotInForce, RuleSwitcher
from benchmarks.server import NotRunning, run_system
from benchmarks.strategies import (
    AB_TEST,
    PARALLEL,
    ROLLING,
    SHADOW,
    SINGLE,
    TENTH_WEIGHT,
    ZERO_WEIGHT,
    Strategy,
    fixed_size_document,
)
from benchmarks.systems import OURS, SYSTEMS, System
from serve_app.client import Client
from serve_app.errors import ServeAppError
from serve_app.home import Home

NAME = "rules"
CLIENTS = 32
PLANNED_CLIENTS = 64  # connections; more than are ever in use at the load of the shadow
SHADOW_LOAD = 0.3  # of the rate of `single`
STABLE_REPLICAS = 1
ROLLING_REPLICAS = 4  # as in deploy_configs/canary_rolling.yaml
SATURATED_SETTLE_S = 5.0  # load before the first block after pools have started
GOVERNOR_SETTLE_S = 12.0  # its share needs 10 s to grow from the minimum to 1
RECORDER_INTERVAL_S = 0.5  # a recorder delivers after this time, or a full batch
RECORDER_BATCH = 500
T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """Number of rounds and durations of the measurements, s."""

    rounds: int
    warm_up_s: float
    block_s: float
    shadow_block_s: float
    recording_s: float


FULL = Pace(rounds=10, warm_up_s=1.0, block_s=4.0, shadow_block_s=8.0, recording_s=1.0)
SHORT = Pace(rounds=1, warm_up_s=0.7, block_s=2.0, shadow_block_s=4.0, recording_s=0.7)


def run(costs: RuleCosts, image: BenchmarkImage, pace: Pace, cache: Path, console: Console) -> None:
    """Start the service, measure all rules, stop it; a failure is stored in `costs.problem`."""
    system = _system(cache)
    try:
        with (
            run_system(system, image, cache) as server,
            Client(system.host, Home(server.home).token) as client,
        ):
            _RuleMeasurement(costs, image, pace, RuleSwitcher(client), system, console).run()
    except (NotRunning, NotInForce, ServeAppError) as exc:
        costs.problem = str(exc)
        console.print(f"[red]rules: {exc}", highlight=False)
    if costs.saturated_blocks:
        _record(costs, pace)


def _system(cache: Path) -> System:
    """serve-app with pools of a fixed size."""
    file = cache / "rules.yaml"
    file.write_text(yaml.safe_dump(fixed_size_document(SINGLE, STABLE_REPLICAS)))
    ours = next(system for system in SYSTEMS if system.name == OURS)
    return replace(ours, name=NAME, command=(*ours.command[:-1], str(file)))


class _RuleMeasurement:
    def __init__(
        self,
        costs: RuleCosts,
        image: BenchmarkImage,
        pace: Pace,
        switcher: RuleSwitcher,
        system: System,
        console: Console,
    ) -> None:
        self._costs = costs
        self._image = image
        self._pace = pace
        self._switcher = switcher
        self._system = system
        self._console = console

    def run(self) -> None:
        self._compare((PARALLEL, AB_TEST), STABLE_REPLICAS)
        self._shadow()
        self._compare((ROLLING,), ROLLING_REPLICAS)

    def _compare(self, kinds: tuple[str, ...], stable_replicas: int) -> None:
        pace = self._pace
        profile = LoadProfile(CLIENTS, pace.warm_up_s, pace.block_s)
        settling = replace(profile, warm_up_s=SATURATED_SETTLE_S)
        for round_ in range(pace.rounds):
            for kind in _alternate(kinds, round_):
                strategies = (Strategy(kind, ZERO_WEIGHT), SINGLE, Strategy(kind, TENTH_WEIGHT))
                for strategy in _alternate(strategies, round_):
                    self._block(kind, strategy, round_, settling, stable_replicas)
                    settling = profile

    def _shadow(self) -> None:
        rate = SHADOW_LOAD * median(block.rate for block in self._costs.saturated_blocks)
        if not rate:
            raise NotRunning("no correct response under single: the shadow cannot be compared")
        self._costs.shadow_rate = rate
        before = self._switcher.copy_counts()
        pace = self._pace
        profile = LoadProfile(PLANNED_CLIENTS, pace.warm_up_s, pace.shadow_block_s, rate)
        settling = replace(profile, warm_up_s=GOVERNOR_SETTLE_S)
        for round_ in range(pace.rounds):
            for strategy in _alternate((SINGLE, SHADOW), round_):
                self._block(SHADOW.kind, strategy, round_, settling, STABLE_REPLICAS)
                settling = profile
        after = self._switcher.copy_counts()
        self._costs.copies = {outcome: after[outcome] - before[outcome] for outcome in after}

    def _block(
        self, comparison: str, strategy: Strategy, round_: int, profile: LoadProfile, stable: int
    ) -> None:
        self._switcher.switch(strategy, stable)
        block = measure(self._system, round_, self._image, profile)
        self._costs.blocks.append(RuleBlock(comparison, strategy, block))
        self._console.print(format_block(block, f"{strategy.name:<28}"))


def _alternate(items: tuple[T, ...], round_: int) -> Iterable[T]:
    """The items, in reverse order in every second round."""
    return items if round_ % 2 == 0 else reversed(items)


def _record(costs: RuleCosts, pace: Pace) -> None:
    """Measure recording, with one process per CPU in parallel, as under load."""
    rate = median(block.rate for block in costs.saturated_blocks)
    batch = max(1, min(RECORDER_BATCH, round(rate * RECORDER_INTERVAL_S)))
    command = [
        *(sys.executable, "-m", "benchmarks.recording"),
        *("--batch", str(batch), "--seconds", str(pace.recording_s)),
    ]
    for _ in range(pace.rounds):
        running = [
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
            for _ in range(os.cpu_count() or 1)
        ]
        for process in running:
            output, _ = process.communicate()
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, command)
            costs.recordings.append(ExposureCost(**json.loads(output)))
