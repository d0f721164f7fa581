"""Numbers and common sections of reports as text. An unknown number is a dash."""

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


def time(at_ms: int | None) -> str:
    """A time in UTC; None is now."""
    if at_ms is None:
        return "now"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def percent(value: float | None) -> str:
    """A share, 0 to 1, in percent."""
    return "-" if value is None else f"{100 * value:.1f} %"


def ms(value: float | None) -> str:
    """A duration in milliseconds."""
    return "-" if value is None else f"{value:.1f} ms"


def level(number: float | None, unit: str | None) -> str:
    """The value of a measure in one arm; in percent if it has no unit."""
    if number is None:
        return "-"
    return f"{100 * number:.2f} %" if unit is None else f"{number:.4g} {unit}"


def difference(number: float | None, unit: str | None) -> str:
    """A difference with its unit; percentage points if the measure has no unit."""
    return "-" if number is None else f"{_signed(number, unit)} {unit or 'points'}"


def interval(ends: Sequence[float | None], unit: str | None) -> str:
    """The interval of a difference; percentage points, without the word, if there is no unit."""
    low, high = ends
    if low is None and high is None:
        return "not known"
    return f"{_signed(low, unit)} to {_signed(high, unit)}" + (f" {unit}" if unit else "")


def rate(estimate: dict[str, Any]) -> str:
    """A rate and its interval."""
    if estimate["estimate"] is None:
        return "not known"
    low, high = estimate["interval"]
    return f"{percent(estimate['estimate'])} ({percent(low)} to {percent(high)})"


def sparkline(values: Sequence[float]) -> str:
    """A series as a row of bars; 0 is a blank, the maximum a full bar."""
    highest = max(values, default=0)
    if highest <= 0:
        return ""
    return "".join(
        _BARS[min(len(_BARS) - 1, int(value / highest * len(_BARS)))] if value > 0 else " "
        for value in values
    )


def timeline(series: dict[str, Any], key: str, **where: Any) -> str:
    """A sparkline of a report's series; slots without a point are blank.

    Args:
        key: The value of a point that is drawn.
        where: Only points with these values count.
    """
    slot_ms = series["slot_ms"]
    times = [point["at_ms"] for point in series["points"]]
    if not times:
        return ""
    values = [0.0] * ((max(times) - min(times)) // slot_ms + 1)
    for point in series["points"]:
        if all(point[name] == wanted for name, wanted in where.items()):
            values[(point["at_ms"] - min(times)) // slot_ms] += point[key]
    return sparkline(values)


def print_header(out: Console, report: dict[str, Any], title: str) -> None:
    """The title, the period and the region."""
    period = report["period"]
    since = "all data" if period["since_ms"] is None else time(period["since_ms"])
    region = f", {period['region']}" if period["region"] else ""
    out.print(
        f"[bold]{escape(title)}[/bold], {since} to {time(period['until_ms'])} UTC{escape(region)}\n"
    )


def print_verdict(out: Console, report: dict[str, Any]) -> None:
    """The finding and its sentence."""
    style = _STYLES.get(report["finding"], "yellow")
    out.print(f"[bold {style}]{report['finding']}[/bold {style}]  {escape(report['sentence'])}\n")
    if report["period"]["region"]:
        out.print(
            "[yellow]One region, for diagnosis only: of many regions, some differ by"
            " chance[/yellow]"
        )


def print_experiment(out: Console, report: dict[str, Any]) -> None:
    """The experiment and the weights of its epochs."""
    weights = ", ".join(
        f"{100 * epoch['weight']:g} % since {time(epoch['from_ms'])}" for epoch in report["epochs"]
    )
    out.print(
        f"{report['kind']} [bold]{escape(report['experiment'])}[/bold]: {report['treatment']}"
        f" compared with {report['control']} by {report['unit']}; weight {weights}"
    )
    if not report["covers_experiment"]:
        out.print(
            "[yellow]Part of the experiment: with a moving start, intervals do not hold for"
            " repeated looks[/yellow]"
        )


def print_end(out: Console, report: dict[str, Any]) -> None:
    """When the experiment ended, if it is over."""
    if report["ended_ms"] is not None:
        out.print(f"[yellow]ended {time(report['ended_ms'])} UTC; not in force[/yellow]")


def print_srm(
    out: Console,
    srm: dict[str, Any],
    units: str,
    mismatch: str = "[bold red]MISMATCH[/bold red]",
) -> None:
    """An SRM check in one line.

    Args:
        units: What is counted: `units`, or the units with `feedback`.
        mismatch: The text for a significant mismatch.
    """
    result = mismatch if srm["invalid"] else "no mismatch"
    out.print(
        f"SRM, {units}: {srm['control']:,} control, {srm['treatment']:,} treatment,"
        f" {srm['expected_treatment']:,.0f} expected: {result} (p = {srm['p']:.2g}, always valid)"
    )


def comparison_table(rows: Sequence[tuple[str, dict[str, Any]]], unit: str | None = None) -> Table:
    """Both arms and their difference.

    Args:
        rows: The name and the comparison of each row.
        unit: For comparisons without a `unit`.
    """
    table = Table(
        "",
        "control",
        "treatment",
        "difference",
        "95 % always valid",
        "95 % single look",
        "units",
        "",
        box=None,
    )
    for name, row in rows:
        row_unit = row.get("unit", unit)
        table.add_row(
            escape(name),
            level(row["control"], row_unit),
            level(row["treatment"], row_unit),
            _difference_cell(row["difference"], row_unit),
            interval(row["interval"], row_unit),
            interval(row["fixed_horizon_interval"], row_unit),
            f"{row['units']['control']:,} + {row['units']['treatment']:,}",
            row.get("finding", ""),
        )
    return table


def print_slices(
    out: Console, report: dict[str, Any], measure: str, unit: str | None = None
) -> None:
    """Tables by region and by epoch, if there are several."""
    regions = [(row["region"] or "unknown", row) for row in report["regions"]]
    epochs = [(f"{row['epoch']}, {100 * row['weight']:g} %", row) for row in report["by_epoch"]]
    for by, rows in (("region", regions), ("epoch", epochs)):
        if len(rows) > 1:
            out.print(f"\n{measure} by {by} (for diagnosis; simultaneous intervals)")
            out.print(comparison_table(rows, unit))


def _difference_cell(number: float | None, unit: str | None) -> str:
    return "-" if number is None else _signed(number, unit) + (f" {unit}" if unit else "")


def _signed(number: float | None, unit: str | None) -> str:
    """A difference without its unit; in percentage points if it has none."""
    if number is None:
        return "-"
    return f"{100 * number:+.2f}" if unit is None else f"{number:+.4g}"
