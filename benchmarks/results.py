"""Measurements of a run and the statistics derived from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.measurement import Block
from benchmarks.processes import Memory
from benchmarks.rule_costs import RuleCosts
from benchmarks.spread import Spread
from benchmarks.systems import OURS


@dataclass(frozen=True)
class Start:
    """One start of a system; see `benchmarks.server.Server`.

    Attributes:
        idle: Idle CPU use by role, as a share of a core.
        memory: Memory by role, after the loads.
        problem: Why it did not start; all other values are then unset.
    """

    system: str
    round: int
    ready_s: float | None = None
    stopped_s: float | None = None
    left_behind: int = 0
    idle: dict[str, float] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Limit:
    """One in-process measurement, ms per image; see `benchmarks.inprocess`."""

    round: int
    image: str
    batch: int
    cpu_ms: float
    ms: float


@dataclass(frozen=True)
class Case:
    """A load that all systems get."""

    clients: int
    image: str


@dataclass
class Results:
    starts: list[Start] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    rules: RuleCosts = field(default_factory=RuleCosts)

    def systems(self) -> list[str]:
        return list(dict.fromkeys(start.system for start in self.starts))

    def cases(self) -> list[Case]:
        return list(dict.fromkeys(Case(b.clients, b.image) for b in self.blocks))

    def blocks_of(self, system: str, case: Case) -> list[Block]:
        """The blocks of a system under a load."""
        return [b for b in self.blocks if b.system == system and Case(b.clients, b.image) == case]

    def starts_of(self, system: str) -> list[Start]:
        return [start for start in self.starts if start.system == system]

    def errors(self, system: str, case: Case) -> dict[str, int]:
        """Errors of a system under a load with their counts, the most frequent first."""
        found: Counter[str] = Counter()
        for block in self.blocks_of(system, case):
            found.update(block.load.errors)
            found["no correct response"] += block.load.answers == 0
        for start in self.starts_of(system):
            found["did not start"] += start.problem is not None
        return {error: count for error, count in found.most_common() if count}

    def spread(
        self, system: str, case: Case, figure: Callable[[Block], float | None]
    ) -> Spread | None:
        """A figure of the blocks of a system under a load."""
        values = [figure(block) for block in self.blocks_of(system, case)]
        return Spread.from_values([value for value in values if value is not None])

    def cpu_ms(self, system: str, case: Case) -> dict[str, float]:
        """Median CPU time per request by role, ms."""
        blocks = [block.cpu_ms for block in self.blocks_of(system, case) if block.load.answers]
        roles = dict.fromkeys(role for block in blocks for role in block)
        return {role: median(block.get(role, 0.0) for block in blocks) for role in roles}

    def ratio(self, peer: str, case: Case) -> Spread | None:
        """Ratio of the rates of serve-app and a peer per round; None if either has errors."""
        if self.errors(OURS, case) or self.errors(peer, case):
            return None
        theirs = {block.round: block.rate for block in self.blocks_of(peer, case)}
        return Spread.from_values(
            [b.rate / theirs[b.round] for b in self.blocks_of(OURS, case) if b.round in theirs]
        )

    def limit_cpu_ms(self, image: str) -> dict[int, float]:
        """In-process CPU time per image, ms, by round; the cheapest batch size."""
        found: dict[int, float] = {}
        for limit in self.limits:
            if limit.image == image:
                found[limit.round] = min(limit.cpu_ms, found.get(limit.round, limit.cpu_ms))
        return found

    def overhead_cpu_ms(self, system: str, case: Case) -> Spread | None:
        """CPU time per request minus that in process, ms, per round."""
        limits = self.limit_cpu_ms(case.image)
        return Spread.from_values(
            [
                sum(block.cpu_ms.values()) - limits[block.round]
                for block in self.blocks_of(system, case)
                if block.round in limits and block.load.answers
            ]
        )

    def ready_s(self, system: str) -> Spread | None:
        starts = self.starts_of(system)
        return Spread.from_values([s.ready_s for s in starts if s.ready_s is not None])

    def idle(self, system: str) -> dict[str, Spread]:
        """Idle CPU use by role, as a share of a core."""
        measured = [start.idle for start in self.starts_of(system) if start.idle]
        roles = dict.fromkeys(role for idle in measured for role in idle)
        found = {
            role: Spread.from_values([idle.get(role, 0.0) for idle in measured]) for role in roles
        }
        return {role: share for role, share in found.items() if share is not None}

    def memory(self, system: str) -> dict[str, Memory]:
        """Memory by role at the last start that has it."""
        found = [start.memory for start in self.starts_of(system) if start.memory]
        return found[-1] if found else {}

    def summary(self) -> list[dict[str, Any]]:
        """Statistics of each system under each load, for the JSON file."""
        return [
            {
                "system": system,
                "clients": case.clients,
                "image": case.image,
                "rate": self.spread(system, case, lambda block: block.rate),
                "p50_ms": self.spread(system, case, lambda block: block.load.p50_ms),
                "p99_ms": self.spread(system, case, lambda block: block.load.p99_ms),
                "errors": self.errors(system, case),
                "cpu_ms": self.cpu_ms(system, case),
                "overhead_cpu_ms": self.overhead_cpu_ms(system, case),
                "ours_to_this": self.ratio(system, case),
            }
            for system in self.systems()
            for case in self.cases()
        ]
