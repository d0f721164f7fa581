"""Prints the results of a run as tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from benchmarks.claims import BUSY, check
from benchmarks.measurement import Block
from benchmarks.results import Case, Results
from benchmarks.rule_costs import RuleCosts, cpu_ms
from benchmarks.spread import Spread
from benchmarks.strategies import SHADOW, SINGLE, SPLITS
from benchmarks.systems import OURS

SMALL_MS = 0.02  # CPU time per request; smaller roles are summed as "others"
SMALL_PERCENT = 0.1  # of a core; smaller roles are not shown
LARGE_MB = 20.0  # memory; smaller roles are not shown
DISTURBED = 0.15  # CPUs
MAX_ERRORS = 3  # maximum number of error types shown per system and load


def print_report(results: Results, console: Console) -> None:
    for case in results.cases():
        console.print(_loads(results, case))
    if results.starts:
        console.print(_limits(results))
        console.print(_costs(results))
        console.print(_starts(results))
        console.print(_idle(results))
    if results.rules.blocks:
        _rules(results.rules, console)
    _problems(results, console)
    console.print(_claims(results))


def format_block(block: Block, description: str) -> str:
    """One line about a finished block."""
    p99 = "–" if block.load.p99_ms is None else f"{block.load.p99_ms:.1f} ms"
    errors = f"  [red]{sum(block.load.errors.values())} errors[/]" if block.load.errors else ""
    return (
        f"[dim]round {block.round + 1}  {description}  {block.rate:7.1f} req/s"
        f"  CPU {cpu_ms(block):6.2f} ms  p99 {p99}[/]{errors}"
    )


def _loads(results: Results, case: Case) -> Table:
    many = "clients" if case.clients > 1 else "client"
    table = Table(title=f"{case.clients} {many}, {case.image}", title_justify="left")
    table.add_column("system")
    for name in ("req/s", "p50, ms", "p99, ms", "errors", "CPU, ms per request", f"{OURS} / it"):
        table.add_column(name, justify="right")
    for system in results.systems():
        errors = results.errors(system, case)
        ratio = _spread(results.ratio(system, case), 2)
        table.add_row(
            system,
            _median(results.spread(system, case, lambda block: block.rate), 0),
            _median(results.spread(system, case, lambda block: block.load.p50_ms), 1),
            _median(results.spread(system, case, lambda block: block.load.p99_ms), 1),
            str(sum(errors.values())),
            f"{sum(results.cpu_ms(system, case).values()):.2f}",
            "" if system == OURS else "errors" if errors else ratio,
        )
    return table


def _limits(results: Results) -> Table:
    table = Table("image", "batch", title="In process, without a server", title_justify="left")
    table.add_column("CPU, ms per image", justify="right")
    table.add_column("images/s per process", justify="right")
    for image, batch in dict.fromkeys((limit.image, limit.batch) for limit in results.limits):
        limits = [x for x in results.limits if (x.image, x.batch) == (image, batch)]
        table.add_row(
            image,
            str(batch),
            _spread(Spread.from_values([limit.cpu_ms for limit in limits]), 2),
            _median(Spread.from_values([1e3 / limit.ms for limit in limits]), 0),
        )
    return table


def _costs(results: Results) -> Table:
    title = f"Where a request's CPU goes, ms ({BUSY.clients} clients, {BUSY.image})"
    table = Table("system", "by role", title=title, title_justify="left")
    for system in results.systems():
        roles = results.cpu_ms(system, BUSY)
        parts = [f"{role} {ms:.2f}" for role, ms in roles.items() if ms >= SMALL_MS]
        rest = sum(ms for ms in roles.values() if ms < SMALL_MS)
        table.add_row(system, ", ".join([*parts, *([f"others {rest:.2f}"] if rest else [])]))
    return table


def _starts(results: Results) -> Table:
    title = "Start and memory (PSS of a role's processes, MB, after the loads)"
    table = Table("system", title=title, title_justify="left")
    table.add_column("ready, s", justify="right")
    table.add_column("memory, MB", justify="right")
    table.add_column("by role")
    for system in results.systems():
        memory = results.memory(system)
        parts = [
            f"{role} {'' if used.processes == 1 else f'({used.processes}) '}{used.pss:.0f}"
            for role, used in memory.items()
            if used.pss >= LARGE_MB
        ]
        table.add_row(
            system,
            _spread(results.ready_s(system), 1),
            f"{sum(used.pss for used in memory.values()):.0f}",
            ", ".join(parts),
        )
    return table


def _idle(results: Results) -> Table:
    title = "Idle CPU use, % of a core"
    table = Table("system", "all", "by role", title=title, title_justify="left")
    for system in results.systems():
        shares = {role: 100 * share.median for role, share in results.idle(system).items()}
        parts = [f"{role} {share:.1f}" for role, share in shares.items() if share >= SMALL_PERCENT]
        table.add_row(system, f"{sum(shares.values()):.1f}", ", ".join(parts))
    return table


def _rules(costs: RuleCosts, console: Console) -> None:
    console.print(_splits(costs))
    if (noise := costs.noise()) is not None:
        console.print(
            f"single compared with single in the same round: CPU ratio {_spread(noise, 3)}"
        )
    if costs.blocks_under(SHADOW):
        console.print(_shadow(costs))
        outcomes = [
            f"{outcome} {costs.copies[outcome]} ({100 * share:.1f} %)"
            for outcome, share in costs.outcome_shares().items()
        ]
        console.print(f"Copies, including the warm-up: {', '.join(outcomes) or 'none'}")
    if share := costs.recording_share():
        us = Spread.from_values([cost.cpu_us for cost in costs.recordings])
        console.print(
            f"Recording, in a separate process, batches of {costs.recordings[0].batch}:"
            f" {_spread(us, 0)} µs of CPU per exposure, {_spread(share, 4)} of a request's CPU"
        )


def _splits(costs: RuleCosts) -> Table:
    table = Table(title="Costs of the rules compared with single", title_justify="left")
    table.add_column("rule")
    for name in ("req/s", "CPU, ms per request", "single, ms", "CPU ratio to single"):
        table.add_column(name, justify="right")
    table.add_column("added CPU by role, ms")
    for strategy in (strategy for kind in SPLITS for strategy in costs.strategies(kind)):
        pairs = costs.pairs(strategy)
        more = costs.extra_cpu_ms_by_role(strategy).items()
        table.add_row(
            strategy.name,
            _median(Spread.from_values([block.rate for block, _ in pairs]), 0),
            _median(Spread.from_values([cpu_ms(block) for block, _ in pairs]), 2),
            _median(Spread.from_values([cpu_ms(single) for _, single in pairs]), 2),
            "errors" if costs.errors(strategy.kind) else _spread(costs.ratio(strategy, cpu_ms), 3),
            ", ".join(f"{role} {ms:+.2f}" for role, ms in more if abs(ms) >= SMALL_MS),
        )
    return table


def _shadow(costs: RuleCosts) -> Table:
    title = f"Shadow, {costs.shadow_rate:.0f} requests a second"
    table = Table("rule", title=title, title_justify="left")
    for name in ("p50, ms", "p99, ms", "CPU, ms per request"):
        table.add_column(name, justify="right")
    for strategy in (SINGLE, SHADOW):
        blocks = [b for b in costs.blocks_under(strategy, SHADOW.kind) if b.load.answers]
        table.add_row(
            strategy.name,
            _median(Spread.from_values([b.load.p50_ms for b in blocks if b.load.p50_ms]), 1),
            _median(Spread.from_values([b.load.p99_ms for b in blocks if b.load.p99_ms]), 1),
            _median(Spread.from_values([cpu_ms(b) for b in blocks]), 2),
        )
    table.add_row(
        "ratio to single",
        _spread(costs.ratio(SHADOW, lambda block: block.load.p50_ms), 2),
        _spread(costs.shadow_p99, 2),
        _spread(costs.ratio(SHADOW, cpu_ms), 2),
    )
    return table


def _problems(results: Results, console: Console) -> None:
    """Print the problems that affect the results."""
    for start in results.starts:
        if start.problem is not None:
            console.print(f"[red]{start.system} did not start: {start.problem.splitlines()[0]}")
        if start.left_behind:
            console.print(f"[red]{start.system} left {start.left_behind} processes behind")
    for system in results.systems():
        for case in results.cases():
            for error, count in list(results.errors(system, case).items())[:MAX_ERRORS]:
                load = f"{case.clients} x {case.image}"
                console.print(f"[red]{system}, {load}: {count} x {error}", highlight=False)
    for comparison in (*SPLITS, SHADOW.kind):
        for error, count in list(results.rules.errors(comparison).items())[:MAX_ERRORS]:
            console.print(f"[red]{comparison} and its blocks of single: {count} x {error}")
    if results.rules.problem is not None:
        reason = results.rules.problem.splitlines()[0]
        console.print(f"[red]The measurement of the rules ended early: {reason}")
    blocks = [*results.blocks, *(rule.block for rule in results.rules.blocks)]
    elsewhere = Spread.from_values([block.elsewhere for block in blocks])
    if elsewhere is not None and elsewhere.median > DISTURBED:
        console.print(
            f"[red]Other processes used {elsewhere.median:.2f} CPUs (up to {elsewhere.high:.2f});"
            " rates and latencies are unreliable."
        )


def _claims(results: Results) -> Table:
    table = Table("target", "measured", "", title="Targets", title_justify="left")
    verdicts = {
        True: "[green]reached",
        False: "[red]not reached",
        None: "[yellow]not measured",
    }
    for claim in check(results):
        table.add_row(claim.text, claim.figure, verdicts[claim.is_reached])
    return table


def _median(found: Spread | None, digits: int) -> str:
    return "–" if found is None else f"{found.median:,.{digits}f}"


def _spread(found: Spread | None, digits: int) -> str:
    if found is None:
        return "–"
    return f"{found.median:.{digits}f} ({found.low:.{digits}f}–{found.high:.{digits}f})"
