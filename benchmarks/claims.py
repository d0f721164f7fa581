"""Checks the performance targets of serve-app against a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Case, Results
from benchmarks.rule_costs import RuleCosts, cpu_ms
from benchmarks.spread import Spread
from benchmarks.strategies import SHADOW, SPLITS, ZERO_WEIGHT, Strategy
from benchmarks.systems import BARE, FASTAPI, OURS, TORCH

BUSY = Case(32, "15 kB")
LARGE = Case(32, "12 MP")
LONE = Case(1, "15 kB")
RATIOS = (
    (BUSY, BARE, 2.0),
    (BUSY, TORCH, 4.0),
    (BUSY, FASTAPI, 0.9),
    (LARGE, FASTAPI, 0.85),
)  # minimum ratios
OVERHEAD_MS = 1.3  # maximum, as all below
P50_MS = 4.5
REPLICA_MB = 280.0
READY_S = 25.0
IDLE_PERCENT = 1.0  # of a core
POOL = "StablePool"
OUR_ROLES = ("Ingress", POOL, "Controller", "ControlApi")
RULE_PERCENT = 2.0
SHADOW_P99 = 1.1  # times
RECORDING_PERCENT = 5.0


@dataclass(frozen=True)
class Claim:
    """A target and its measurement; `is_reached` is None if it was not measured."""

    text: str
    figure: str
    is_reached: bool | None


def check(results: Results) -> Iterator[Claim]:
    """Compare each target with the median of a run."""
    for case, peer, least in RATIOS:
        text = f"{case.clients} clients, {case.image}: at least {least:g} x {peer}"
        if peer in results.systems() and (
            errors := results.errors(peer, case) | results.errors(OURS, case)
        ):
            yield Claim(text, f"errors: {next(iter(errors))}", None)
        else:
            yield _compare(text, results.ratio(peer, case), "x", at_least=least)
    yield _compare(
        f"{BUSY.clients} clients, {BUSY.image}: CPU of a request at most {OVERHEAD_MS:g} ms"
        " above the same work in process",
        results.overhead_cpu_ms(OURS, BUSY),
        "ms",
        at_most=OVERHEAD_MS,
    )
    yield _compare(
        f"{LONE.clients} client, {LONE.image}: p50 at most {P50_MS:g} ms",
        results.spread(OURS, LONE, lambda block: block.load.p50_ms),
        "ms",
        at_most=P50_MS,
    )
    yield _compare(
        f"a classifier replica at most {REPLICA_MB:g} MB resident",
        Spread.from_values(
            [s.memory[POOL].largest_rss for s in results.starts_of(OURS) if POOL in s.memory]
        ),
        "MB",
        at_most=REPLICA_MB,
    )
    yield _compare(f"ready within {READY_S:g} s", results.ready_s(OURS), "s", at_most=READY_S)
    idle = results.idle(OURS)
    for role in OUR_ROLES:
        yield _compare(
            f"{role} at most {IDLE_PERCENT:g} % of a core while idle",
            _percent(idle.get(role)),
            "%",
            at_most=IDLE_PERCENT,
        )
    yield from _rule_claims(results.rules)


def _rule_claims(costs: RuleCosts) -> Iterator[Claim]:
    for kind in SPLITS:
        text = f"{kind}: the rule itself at most {RULE_PERCENT:g} % of a request's CPU"
        if errors := costs.errors(kind):
            yield Claim(text, f"errors: {next(iter(errors))}", None)
        else:
            ratio = costs.ratio(Strategy(kind, ZERO_WEIGHT), cpu_ms)
            yield _compare(text, _percent(ratio, above=1.0), "%", at_most=RULE_PERCENT)
    text = f"shadow: p99 of the live responses at most {SHADOW_P99:g} x"
    if errors := costs.errors(SHADOW.kind):
        yield Claim(text, f"errors: {next(iter(errors))}", None)
    else:
        yield _compare(text, costs.shadow_p99, "x", at_most=SHADOW_P99)
    yield _compare(
        f"recording at most {RECORDING_PERCENT:g} % of a request's CPU",
        _percent(costs.recording_share()),
        "%",
        at_most=RECORDING_PERCENT,
    )


def _percent(share: Spread | None, above: float = 0.0) -> Spread | None:
    if share is None:
        return None
    return Spread(*(100 * (value - above) for value in (share.median, share.low, share.high)))


def _compare(
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
