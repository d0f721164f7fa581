"""A run's figures as tables."""

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

SMALL_MS = 0.02  # CPU of a request; roles below are added up
SMALL_PERCENT = 0.1  # of a core; roles below are left out
LARGE_MB = 20.0  # memory; likewise
DISTURBED = 0.15  # CPUs
KINDS = 3  # of errors that are shown for a system under a load


def write(results: Results, console: Console) -> None:
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


def line(block: Block, what: str) -> str:
    """A block, as soon as it is over."""
    p99 = "–" if block.load.p99_ms is None else f"{block.load.p99_ms:.1f} ms"
    errors = f"  [red]{sum(block.load.errors.values())} errors[/]" if block.load.errors else ""
    return (
        f"[dim]round {block.round + 1}  {what}  {block.rate:7.1f} req/s"
        f"  CPU {cpu_ms(block):6.2f} ms  p99 {p99}[/]{errors}"
    )


def _loads(results: Results, case: Case) -> Table:
    many = "clients" if case.clients > 1 else "client"
    table = Table(title=f"{case.clients} {many}, {case.image}", title_justify="left")
    table.add_column("system")
    for name in ("req/s", "p50, ms", "p99, ms", "errors", "CPU, ms a request", f"{OURS} / it"):
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
    table = Table("image", "batch", title="In process, nothing around it", title_justify="left")
    table.add_column("CPU, ms an image", justify="right")
    table.add_column("images/s of one process", justify="right")
    for image, batch in dict.fromkeys((limit.image, limit.batch) for limit in results.limits):
        here = [x for x in results.limits if (x.image, x.batch) == (image, batch)]
        table.add_row(
            image,
            str(batch),
            _spread(Spread.of([limit.cpu_ms for limit in here]), 2),
            _median(Spread.of([1e3 / limit.ms for limit in here]), 0),
        )
    return table


def _costs(results: Results) -> Table:
    title = f"Where a request's CPU goes, ms ({BUSY.clients} clients, {BUSY.image})"
    table = Table("system", "by role", title=title, title_justify="left")
    for system in results.systems():
        roles = results.cpu_ms(system, BUSY)
        named = [f"{role} {ms:.2f}" for role, ms in roles.items() if ms >= SMALL_MS]
        rest = sum(ms for ms in roles.values() if ms < SMALL_MS)
        table.add_row(system, ", ".join([*named, *([f"others {rest:.2f}"] if rest else [])]))
    return table


def _starts(results: Results) -> Table:
    title = "Start and memory (PSS of a role's processes, MB, after the loads)"
    table = Table("system", title=title, title_justify="left")
    table.add_column("ready, s", justify="right")
    table.add_column("memory, MB", justify="right")
    table.add_column("by role")
    for system in results.systems():
        memory = results.memory(system)
        named = [
            f"{role} {'' if of.processes == 1 else f'({of.processes}) '}{of.pss:.0f}"
            for role, of in memory.items()
            if of.pss >= LARGE_MB
        ]
        table.add_row(
            system,
            _spread(results.ready_s(system), 1),
            f"{sum(of.pss for of in memory.values()):.0f}",
            ", ".join(named),
        )
    return table


def _idle(results: Results) -> Table:
    title = "While nothing happens, % of a core"
    table = Table("system", "all", "by role", title=title, title_justify="left")
    for system in results.systems():
        shares = {role: 100 * share.median for role, share in results.idle(system).items()}
        named = [f"{role} {share:.1f}" for role, share in shares.items() if share >= SMALL_PERCENT]
        table.add_row(system, f"{sum(shares.values()):.1f}", ", ".join(named))
    return table


def _rules(costs: RuleCosts, console: Console) -> None:
    console.print(_splits(costs))
    if (noise := costs.noise()) is not None:
        console.print(f"single to single, in the same round: {_spread(noise, 3)} of the CPU")
    if costs.of(SHADOW):
        console.print(_shadow(costs))
        outcomes = [
            f"{outcome} {costs.copies[outcome]} ({100 * share:.1f} %)"
            for outcome, share in costs.copied().items()
        ]
        console.print(f"Copies, warming up included: {', '.join(outcomes) or 'none'}")
    if share := costs.recording_share():
        us = Spread.of([cost.cpu_us for cost in costs.recordings])
        console.print(
            f"Recording, alone in a process, batches of {costs.recordings[0].batch}:"
            f" {_spread(us, 0)} µs of CPU an exposure, {_spread(share, 4)} of a request's"
        )


def _splits(costs: RuleCosts) -> Table:
    table = Table(title="What a rule costs, beside single", title_justify="left")
    table.add_column("rule")
    for name in ("req/s", "CPU, ms a request", "of single", "CPU to single's"):
        table.add_column(name, justify="right")
    table.add_column("more by role, ms")
    for strategy in (strategy for kind in SPLITS for strategy in costs.measured(kind)):
        pairs = costs.pairs(strategy)
        more = costs.more_by_role(strategy).items()
        table.add_row(
            strategy.name,
            _median(Spread.of([block.rate for block, _ in pairs]), 0),
            _median(Spread.of([cpu_ms(block) for block, _ in pairs]), 2),
            _median(Spread.of([cpu_ms(single) for _, single in pairs]), 2),
            "errors" if costs.errors(strategy.kind) else _spread(costs.ratio(strategy, cpu_ms), 3),
            ", ".join(f"{role} {ms:+.2f}" for role, ms in more if abs(ms) >= SMALL_MS),
        )
    return table


def _shadow(costs: RuleCosts) -> Table:
    title = f"Shadow, {costs.shadow_rate:.0f} requests a second"
    table = Table("rule", title=title, title_justify="left")
    for name in ("p50, ms", "p99, ms", "CPU, ms a request"):
        table.add_column(name, justify="right")
    for strategy in (SINGLE, SHADOW):
        blocks = [b for b in costs.of(strategy, SHADOW.kind) if b.load.answers]
        table.add_row(
            strategy.name,
            _median(Spread.of([b.load.p50_ms for b in blocks if b.load.p50_ms]), 1),
            _median(Spread.of([b.load.p99_ms for b in blocks if b.load.p99_ms]), 1),
            _median(Spread.of([cpu_ms(b) for b in blocks]), 2),
        )
    table.add_row(
        "to single's",
        _spread(costs.ratio(SHADOW, lambda block: block.load.p50_ms), 2),
        _spread(costs.shadow_p99, 2),
        _spread(costs.ratio(SHADOW, cpu_ms), 2),
    )
    return table


def _problems(results: Results, console: Console) -> None:
    """What a reader must know before believing the tables."""
    for start in results.starts:
        if start.problem is not None:
            console.print(f"[red]{start.system} did not start: {start.problem.splitlines()[0]}")
        if start.left_behind:
            console.print(f"[red]{start.system} left {start.left_behind} processes behind")
    for system in results.systems():
        for case in results.cases():
            for what, count in list(results.errors(system, case).items())[:KINDS]:
                where = f"{case.clients} x {case.image}"
                console.print(f"[red]{system}, {where}: {count} x {what}", highlight=False)
    for comparison in (*SPLITS, SHADOW.kind):
        for what, count in list(results.rules.errors(comparison).items())[:KINDS]:
            console.print(f"[red]{comparison}, or single beside it: {count} x {what}")
    if results.rules.problem is not None:
        console.print(f"[red]The rules ended early: {results.rules.problem.splitlines()[0]}")
    blocks = [*results.blocks, *(rule.block for rule in results.rules.blocks)]
    elsewhere = Spread.of([block.elsewhere for block in blocks])
    if elsewhere is not None and elsewhere.median > DISTURBED:
        console.print(
            f"[red]The machine was not quiet: something else used {elsewhere.median:.2f} CPUs"
            f" (up to {elsewhere.high:.2f}); rates and latencies mean little."
        )


def _claims(results: Results) -> Table:
    table = Table("claim", "measured", "", title="Claims", title_justify="left")
    words = {
        True: "[green]reached",
        False: "[red]not reached",
        None: "[yellow]not labelled_feedback",
    }
    for claim in check(results):
        table.add_row(claim.text, claim.figure, words[claim.is_reached])
    return table


def _median(found: Spread | None, digits: int) -> str:
    return "–" if found is None else f"{found.median:,.{digits}f}"


def _spread(found: Spread | None, digits: int) -> str:
    if found is None:
        return "–"
    return f"{found.median:.{digits}f} ({found.low:.{digits}f}–{found.high:.{digits}f})"
