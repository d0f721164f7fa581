"""Figures as text; what is not known is a dash."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_BARS = "▁▂▃▄▅▆▇█"
_STYLES = {
    "better": "green",
    "no difference": "green",
    "worse": "red",
    "invalid: SRM": "red",
}


def when(at_ms: int | None) -> str:
    """A time, UTC."""
    if at_ms is None:
        return "now"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def percent(value: float | None) -> str:
    """A share."""
    return "-" if value is None else f"{100 * value:.1f} %"


def ms(value: float | None) -> str:
    """A duration."""
    return "-" if value is None else f"{value:.1f} ms"


def value(number: float | None, unit: str | None, *, signed: bool = False) -> str:
    """A level or a difference; shares in percent, or in points."""
    if number is None:
        return "-"
    if unit is None:
        return f"{100 * number:{'+' if signed else ''}.2f}{'' if signed else ' %'}"
    return f"{number:{'+' if signed else ''}.4g} {unit}"


def difference(number: float | None, unit: str | None) -> str:
    """A difference in a sentence."""
    return value(number, unit, signed=True) + (" points" if unit is None else "")


def interval(ends: Sequence[float | None], unit: str | None, *, signed: bool = True) -> str:
    """Where something lies."""
    low, high = ends
    if low is None and high is None:
        return "not known"
    return f"{value(low, unit, signed=signed)} to {value(high, unit, signed=signed)}"


def share(found: dict[str, Any]) -> str:
    """A rate and where it lies."""
    if found["estimate"] is None:
        return "not known"
    low, high = found["interval"]
    return f"{percent(found['estimate'])} ({percent(low)} to {percent(high)})"


def sparkline(values: Sequence[float]) -> str:
    """A series as a row of bars; 0 is a blank, the highest a full bar."""
    most = max(values, default=0)
    if most <= 0:
        return ""
    return "".join(
        _BARS[min(len(_BARS) - 1, int(value / most * len(_BARS)))] if value > 0 else " "
        for value in values
    )


def timeline(series: dict[str, Any], key: str, **only: Any) -> str:
    """A sparkline of a report's series, gaps included.

    Args:
        only: The points that are meant, by what they hold.
    """
    slot_ms = series["slot_ms"]
    every = [point["at_ms"] for point in series["points"]]
    if not every:
        return ""
    values = [0.0] * ((max(every) - min(every)) // slot_ms + 1)
    for point in series["points"]:
        if all(point[name] == wanted for name, wanted in only.items()):
            values[(point["at_ms"] - min(every)) // slot_ms] += point[key]
    return sparkline(values)


def head(out: Console, report: dict[str, Any], title: str) -> None:
    """What the report is about."""
    period = report["period"]
    since = "from the beginning" if period["since_ms"] is None else when(period["since_ms"])
    region = f", {period['region']}" if period["region"] else ""
    out.print(
        f"[bold]{escape(title)}[/bold], {since} to {when(period['until_ms'])} UTC{escape(region)}\n"
    )


def verdict(out: Console, found: dict[str, Any]) -> None:
    """The finding, and its sentence."""
    style = _STYLES.get(found["finding"], "yellow")
    out.print(f"[bold {style}]{found['finding']}[/bold {style}]  {escape(found['sentence'])}\n")
    if found["period"]["region"]:
        out.print(
            "[yellow]a slice, for diagnosis: whoever looks at many regions finds something by"
            " chance[/yellow]"
        )


def experiment(out: Console, report: dict[str, Any]) -> None:
    """The experiment and its epochs."""
    weights = ", ".join(
        f"{100 * epoch['weight']:g} % since {when(epoch['from_ms'])}" for epoch in report["epochs"]
    )
    out.print(
        f"{report['kind']} [bold]{escape(report['experiment'])}[/bold]: {report['treatment']}"
        f" beside {report['control']}, by {report['unit']}; {weights}"
    )
    if not report.get("whole", True):
        out.print(
            "[yellow]a part of the experiment: looked at again and again, a period that slides with"
            " the clock is not always valid[/yellow]"
        )


def mismatch(
    out: Console,
    srm: dict[str, Any],
    of: str = "units",
    otherwise: str = "[bold red]MISMATCH[/bold red]",
) -> None:
    """A check for SRM, in a line.

    Args:
        otherwise: What it means if chance hardly explains it.
    """
    both = srm["control"] + srm["treatment"]
    word = otherwise if srm["invalid"] else "as promised"
    out.print(
        f"{of}: {srm['control']:,} control, {srm['treatment']:,} treatment of {both:,},"
        f" {srm['expected_treatment']:,.0f} expected: {word} (p {srm['p']:.2g}, always valid)"
    )


def comparisons(rows: Sequence[tuple[str, dict[str, Any]]], unit: str | None = None) -> Table:
    """Both arms, their difference, and where it lies."""
    table = Table(
        "",
        "control",
        "treatment",
        "difference",
        "95 %, always valid",
        "95 %, one look",
        "units",
        "",
        box=None,
    )
    for name, row in rows:
        of = row.get("unit", unit)
        table.add_row(
            escape(name),
            value(row["control"], of),
            value(row["treatment"], of),
            value(row["difference"], of, signed=True),
            interval(row["interval"], of),
            interval(row["fixed_horizon_interval"], of),
            f"{row['units']['control']:,} + {row['units']['treatment']:,}",
            row.get("finding", ""),
        )
    return table


def slices(out: Console, report: dict[str, Any], what: str, unit: str | None = None) -> None:
    """What regions and epochs show by themselves, where there are several."""
    regions = [(one["region"] or "unknown", one) for one in report["regions"]]
    epochs = [(f"{one['epoch']}, {100 * one['weight']:g} %", one) for one in report["by_epoch"]]
    for by, rows in (("region", regions), ("epoch", epochs)):
        if len(rows) > 1:
            out.print(f"\n{what}, by {by} (for diagnosis; all intervals hold together)")
            out.print(comparisons(rows, unit))
