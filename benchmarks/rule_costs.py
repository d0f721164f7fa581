"""Measurements of the rules and the statistics derived from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.measurement import Block
from benchmarks.recording import ExposureCost
from benchmarks.spread import Spread
from benchmarks.strategies import AB_TEST, PARALLEL, SHADOW, SINGLE, Strategy


@dataclass(frozen=True)
class RuleBlock:
    """A block of load under a rule.

    Attributes:
        comparison: Kind of the compared rule; `single` is measured in every comparison.
    """

    comparison: str
    strategy: Strategy
    block: Block


def cpu_ms(block: Block) -> float:
    """CPU time per request of all processes, ms."""
    return sum(block.cpu_ms.values())


@dataclass
class RuleCosts:
    """All measurements of the rules.

    Attributes:
        shadow_rate: Scheduled requests per second in the comparison of the shadow.
        copies: Copies by outcome in all blocks of the shadow, including the warm-up.
        recordings: Costs of recording; those of one round were measured in parallel.
        problem: Why the measurement ended early; None if it did not.
    """

    blocks: list[RuleBlock] = field(default_factory=list)
    shadow_rate: float | None = None
    copies: dict[str, int] = field(default_factory=dict)
    recordings: list[ExposureCost] = field(default_factory=list)
    problem: str | None = None

    def blocks_under(self, strategy: Strategy, comparison: str | None = None) -> list[Block]:
        """The blocks under a strategy; for `single`, those of one comparison."""
        kind = comparison or strategy.kind
        return [b.block for b in self.blocks if (b.comparison, b.strategy) == (kind, strategy)]

    def strategies(self, comparison: str) -> list[Strategy]:
        """The strategies of a comparison without `single`; the smallest weight first."""
        found = {b.strategy for b in self.blocks if b.comparison == comparison} - {SINGLE}
        return sorted(found, key=lambda strategy: strategy.weight or 0.0)

    def pairs(self, strategy: Strategy) -> list[tuple[Block, Block]]:
        """Blocks of a strategy and of `single` in the same round, if both have responses."""
        return _pair_by_round(self.blocks_under(strategy), self.blocks_under(SINGLE, strategy.kind))

    def ratio(self, strategy: Strategy, measure: Callable[[Block], float | None]) -> Spread | None:
        """Ratio of a measure under a strategy and under `single`; None if there are errors."""
        return None if self.errors(strategy.kind) else _ratio(self.pairs(strategy), measure)

    def noise(self) -> Spread | None:
        """CPU ratio of two blocks of `single` in the same round, as an estimate of the noise.

        It slightly overestimates the noise, because other blocks lie between the two.
        """
        first, second = self.blocks_under(SINGLE, PARALLEL), self.blocks_under(SINGLE, AB_TEST)
        return _ratio(_pair_by_round(first, second), cpu_ms)

    def extra_cpu_ms_by_role(self, strategy: Strategy) -> dict[str, float]:
        """Median difference of the CPU time per request to `single`, by role, ms."""
        pairs = self.pairs(strategy)
        roles = dict.fromkeys(role for pair in pairs for block in pair for role in block.cpu_ms)
        return {
            role: median(a.cpu_ms.get(role, 0.0) - b.cpu_ms.get(role, 0.0) for a, b in pairs)
            for role in roles
        }

    def errors(self, comparison: str) -> dict[str, int]:
        """Errors in the blocks of a comparison with their counts, the most frequent first."""
        found: Counter[str] = Counter()
        for block in (b.block for b in self.blocks if b.comparison == comparison):
            found.update(block.load.errors)
            found["no correct response"] += block.load.answers == 0
        return {error: count for error, count in found.most_common() if count}

    @property
    def saturated_blocks(self) -> list[Block]:
        """The closed-loop blocks of `single` with the pools of the parallel canary."""
        return [*self.blocks_under(SINGLE, PARALLEL), *self.blocks_under(SINGLE, AB_TEST)]

    def recording_share(self) -> Spread | None:
        """Ratio of the CPU time of recording an exposure to that of a request."""
        request_ms = [cpu_ms(block) for block in self.saturated_blocks if block.load.answers]
        if not request_ms:
            return None
        typical_ms = median(request_ms)
        return Spread.from_values([cost.cpu_us / 1e3 / typical_ms for cost in self.recordings])

    def summary(self) -> list[dict[str, Any]]:
        """Statistics of each strategy, for the JSON file."""
        kinds = dict.fromkeys(b.comparison for b in self.blocks)
        return [
            {
                "strategy": strategy.name,
                "cpu_to_single": self.ratio(strategy, cpu_ms),
                "rate_to_single": self.ratio(strategy, lambda block: block.rate),
                "p50_to_single": self.ratio(strategy, lambda block: block.load.p50_ms),
                "p99_to_single": self.ratio(strategy, lambda block: block.load.p99_ms),
                "more_cpu_ms": self.extra_cpu_ms_by_role(strategy),
                "errors": self.errors(strategy.kind),
            }
            for kind in kinds
            for strategy in self.strategies(kind)
        ]

    def outcome_shares(self) -> dict[str, float]:
        """Share of each outcome among all copies."""
        total = sum(self.copies.values())
        return {outcome: count / total for outcome, count in self.copies.items()} if total else {}

    @property
    def shadow_p99(self) -> Spread | None:
        """Ratio of the live p99 under the shadow to that under `single`."""
        return self.ratio(SHADOW, lambda block: block.load.p99_ms)


def _pair_by_round(first: Sequence[Block], second: Sequence[Block]) -> list[tuple[Block, Block]]:
    by_round = {block.round: block for block in second if block.load.answers}
    return [(b, by_round[b.round]) for b in first if b.load.answers and b.round in by_round]


def _ratio(
    pairs: list[tuple[Block, Block]], measure: Callable[[Block], float | None]
) -> Spread | None:
    values = [(measure(a), measure(b)) for a, b in pairs]
    return Spread.from_values([a / b for a, b in values if a is not None and b])
