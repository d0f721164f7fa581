"""What serve-app claims of its speed, held against a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Case, Results, Spread
from benchmarks.systems import BARE, FASTAPI, OURS, TORCH

BUSY = Case(32, "15 kB")
IDLE = Case(1, "15 kB")
RATIOS = {BARE: 1.6, TORCH: 4.0, FASTAPI: 0.6}  # at least
OVERHEAD_MS = 1.5  # at most, as all below
P50_MS = 5.0
REPLICA_MB = 300.0
READY_S = 25.0
POOL = "StablePool"


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
