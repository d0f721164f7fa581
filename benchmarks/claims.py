"""What serve-app claims of its speed, held against a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Case, Results
from benchmarks.rule_costs import RuleCosts, cpu_ms
from benchmarks.spread import Spread
from benchmarks.strategies import MACHINERY, SHADOW, SPLITS, Strategy
from benchmarks.systems import BARE, FASTAPI, OURS, TORCH

BUSY = Case(32, "15 kB")
IDLE = Case(1, "15 kB")
RATIOS = {BARE: 1.6, TORCH: 4.0, FASTAPI: 0.6}  # at least
OVERHEAD_MS = 1.5  # at most, as all below
P50_MS = 5.0
REPLICA_MB = 300.0
READY_S = 25.0
POOL = "StablePool"
RULE_PERCENT = 2.0
SHADOW_P99 = 1.1  # times
RECORDING_PERCENT = 5.0


@dataclass(frozen=True)
class Claim:
    """A claim and what was measured; `is_reached` is None where nothing was."""

    text: str
    figure: str
    is_reached: bool | None


def check(results: Results) -> Iterator[Claim]:
    """Hold every claim against the medians of a run."""
    for peer, least in RATIOS.items():
        text = f"{BUSY.clients} clients, {BUSY.picture}: at least {least:g} x {peer}"
        if peer in results.systems() and (
            errors := results.errors(peer, BUSY) | results.errors(OURS, BUSY)
        ):
            yield Claim(text, f"errors: {next(iter(errors))}", None)
        else:
            yield _claim(text, results.ratio(peer, BUSY), "x", at_least=least)
    yield _claim(
        f"{BUSY.clients} clients, {BUSY.picture}: CPU of a request at most {OVERHEAD_MS:g} ms"
        " above the same work in process",
        results.overhead_cpu_ms(OURS, BUSY),
        "ms",
        at_most=OVERHEAD_MS,
    )
    yield _claim(
        f"{IDLE.clients} client, {IDLE.picture}: p50 at most {P50_MS:g} ms",
        results.spread(OURS, IDLE, lambda block: block.load.p50_ms),
        "ms",
        at_most=P50_MS,
    )
    yield _claim(
        f"a classifier replica at most {REPLICA_MB:g} MB resident",
        Spread.of(
            [s.memory[POOL].largest_rss for s in results.starts_of(OURS) if POOL in s.memory]
        ),
        "MB",
        at_most=REPLICA_MB,
    )
    yield _claim(f"ready within {READY_S:g} s", results.ready_s(OURS), "s", at_most=READY_S)
    yield from _rules(results.rules)


def _rules(costs: RuleCosts) -> Iterator[Claim]:
    for kind in SPLITS:
        text = f"{kind}: the rule itself at most {RULE_PERCENT:g} % of a request's CPU"
        if errors := costs.errors(kind):
            yield Claim(text, f"errors: {next(iter(errors))}", None)
        else:
            ratio = costs.ratio(Strategy(kind, MACHINERY), cpu_ms)
            yield _claim(text, _percent(ratio, above=1.0), "%", at_most=RULE_PERCENT)
    text = f"shadow: p99 of the live answers at most {SHADOW_P99:g} x"
    if errors := costs.errors(SHADOW.kind):
        yield Claim(text, f"errors: {next(iter(errors))}", None)
    else:
        yield _claim(text, costs.shadow_p99, "x", at_most=SHADOW_P99)
    yield _claim(
        f"recording at most {RECORDING_PERCENT:g} % of a request's CPU",
        _percent(costs.recording_share()),
        "%",
        at_most=RECORDING_PERCENT,
    )


def _percent(share: Spread | None, above: float = 0.0) -> Spread | None:
    if share is None:
        return None
    return Spread(*(100 * (value - above) for value in (share.median, share.low, share.high)))


def _claim(
    text: str,
    found: Spread | None,
    unit: str,
    at_least: float = float("-inf"),
    at_most: float = float("inf"),
) -> Claim:
    if found is None:
        return Claim(text, "not measured", None)
    figure = f"{found.median:.2f} {unit} ({found.low:.2f}–{found.high:.2f})"
    return Claim(text, figure, at_least <= found.median <= at_most)
