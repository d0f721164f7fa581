"""What was measured of the rules, and the figures that are drawn from it."""

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
        comparison: The kind of the rule that it was measured for; `single` is measured beside each.
    """

    comparison: str
    strategy: Strategy
    block: Block


def cpu_ms(block: Block) -> float:
    """CPU time of a request, of all processes, ms."""
    return sum(block.cpu_ms.values())


@dataclass
class RuleCosts:
    """
    Attributes:
        shadow_rate: Requests a second, planned, in the blocks beside the shadow.
        copies: Copies by outcome, of all blocks under the shadow, warming up included.
        recordings: Those of one round ran at the same time.
        problem: Why it ended early, if it did.
    """

    blocks: list[RuleBlock] = field(default_factory=list)
    shadow_rate: float | None = None
    copies: dict[str, int] = field(default_factory=dict)
    recordings: list[ExposureCost] = field(default_factory=list)
    problem: str | None = None

    def of(self, strategy: Strategy, comparison: str | None = None) -> list[Block]:
        """The blocks under a strategy; those of `single` for one comparison."""
        kind = comparison or strategy.kind
        return [b.block for b in self.blocks if (b.comparison, b.strategy) == (kind, strategy)]

    def measured(self, comparison: str) -> list[Strategy]:
        """The strategies of a comparison, but for `single`; the smallest weight first."""
        found = {b.strategy for b in self.blocks if b.comparison == comparison} - {SINGLE}
        return sorted(found, key=lambda strategy: strategy.weight or 0.0)

    def pairs(self, strategy: Strategy) -> list[tuple[Block, Block]]:
        """Each block of a strategy with that of `single` beside it, where both have answers."""
        return _paired(self.of(strategy), self.of(SINGLE, strategy.kind))

    def ratio(self, strategy: Strategy, figure: Callable[[Block], float | None]) -> Spread | None:
        """A figure under a strategy to that under `single` beside it; None after any error."""
        return None if self.errors(strategy.kind) else _ratio(self.pairs(strategy), figure)

    def noise(self) -> Spread | None:
        """CPU time of a request under `single` to that under `single` of the same round: what a
        rule that costs nothing would show, and a little more, as other blocks lie between them.
        """
        first, second = self.of(SINGLE, PARALLEL), self.of(SINGLE, AB_TEST)
        return _ratio(_paired(first, second), cpu_ms)

    def more_by_role(self, strategy: Strategy) -> dict[str, float]:
        """Median CPU time of a request by role, ms, less that under `single`."""
        pairs = self.pairs(strategy)
        roles = dict.fromkeys(role for pair in pairs for block in pair for role in block.cpu_ms)
        return {
            role: median(a.cpu_ms.get(role, 0.0) - b.cpu_ms.get(role, 0.0) for a, b in pairs)
            for role in roles
        }

    def errors(self, comparison: str) -> dict[str, int]:
        """What went wrong in the blocks of a comparison, the most frequent first."""
        found: Counter[str] = Counter()
        for block in (b.block for b in self.blocks if b.comparison == comparison):
            found.update(block.load.errors)
            found["no answer at all"] += block.load.answers == 0
        return {what: count for what, count in found.most_common() if count}

    @property
    def saturated(self) -> list[Block]:
        """The blocks under `single` in which the clients asked as fast as they could, over the
        pools of the parallel canary.
        """
        return [*self.of(SINGLE, PARALLEL), *self.of(SINGLE, AB_TEST)]

    def recording_share(self) -> Spread | None:
        """CPU time of recording an exposure to that of a whole request."""
        whole_ms = [cpu_ms(block) for block in self.saturated if block.load.answers]
        if not whole_ms:
            return None
        return Spread.of([cost.cpu_us / 1e3 / median(whole_ms) for cost in self.recordings])

    def summary(self) -> list[dict[str, Any]]:
        """The figures of each strategy, for a file."""
        kinds = dict.fromkeys(b.comparison for b in self.blocks)
        return [
            {
                "strategy": strategy.name,
                "cpu_to_single": self.ratio(strategy, cpu_ms),
                "rate_to_single": self.ratio(strategy, lambda block: block.rate),
                "p50_to_single": self.ratio(strategy, lambda block: block.load.p50_ms),
                "p99_to_single": self.ratio(strategy, lambda block: block.load.p99_ms),
                "more_cpu_ms": self.more_by_role(strategy),
                "errors": self.errors(strategy.kind),
            }
            for kind in kinds
            for strategy in self.measured(kind)
        ]

    def copied(self) -> dict[str, float]:
        """The share of each outcome of a copy."""
        whole = sum(self.copies.values())
        return {outcome: count / whole for outcome, count in self.copies.items()} if whole else {}

    @property
    def shadow_p99(self) -> Spread | None:
        """p99 of the live answers under the shadow to that under `single`."""
        return self.ratio(SHADOW, lambda block: block.load.p99_ms)


def _paired(first: Sequence[Block], second: Sequence[Block]) -> list[tuple[Block, Block]]:
    beside = {block.round: block for block in second if block.load.answers}
    return [(b, beside[b.round]) for b in first if b.load.answers and b.round in beside]


def _ratio(
    pairs: list[tuple[Block, Block]], figure: Callable[[Block], float | None]
) -> Spread | None:
    figures = [(figure(a), figure(b)) for a, b in pairs]
    return Spread.of([a / b for a, b in figures if a is not None and b])
