"""Numbers and common sections of reports as text. An unknown number is a dash."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from serve_app.cli.tables import Table
from serve_app.clock import DAY_MS, HOUR_MS, MINUTE_MS
from serve_app.figures import shown_decimals

MAX_DECIMALS = 4
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


def figure(value: float, decimals: int, largest: float = math.inf) -> str:
    """A number with these decimals, and with two significant digits if it is smaller.

    Args:
        largest: The largest possible value; near it there are as many digits as near 0.
    """
    return f"{value:,.{shown_decimals(value, decimals, MAX_DECIMALS, largest)}f}"


def percent(value: float | None) -> str:
    """A share, 0 to 1, in percent."""
    return "-" if value is None else f"{figure(100 * value, 1, 100.0)} %"


def ms(value: float | None) -> str:
    """A duration in milliseconds."""
    return "-" if value is None else f"{value:.1f} ms"


def level(number: float | None, unit: str | None) -> str:
    """The value of a measure in one arm; in percent if it has no unit."""
    if number is None:
        return "-"
    if unit is None:
        return f"{figure(100 * number, 2, 100.0)} %"
    return f"{figure(number, 2)} {unit}".rstrip()


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


def print_timeline(out: Console, name: str, series: dict[str, Any], key: str, **where: Any) -> None:
    """A sparkline of a report's series with its first and its last time; slots without a point are
    blank. It has a line of its own where the console is too narrow.

    Args:
        key: The value of a point that is drawn.
        where: Only points with these values count.
    """
    slot_ms = series["slot_ms"]
    times = [point["at_ms"] for point in series["points"]]
    if not times:
        out.print(f"{name}  none")
        return
    first_ms, last_ms = min(times), max(times)
    values = [0.0] * ((last_ms - first_ms) // slot_ms + 1)
    for point in series["points"]:
        if all(point[name] == wanted for name, wanted in where.items()):
            values[(point["at_ms"] - first_ms) // slot_ms] += point[key]
    until = time(last_ms + slot_ms)
    bars, span = sparkline(values), f"{time(first_ms)} to {until} UTC, highest {max(values):,.4g}"
    line = f"{name}  {bars}  {span}"
    shown = [line] if len(line) <= out.width else [f"{name}, {span}", bars]
    for text in shown:
        out.print(text, markup=False, soft_wrap=text is bars)


def duration(length_ms: int) -> str:
    """A duration in the largest unit that gives a whole number."""
    units = ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (1000, "s"))
    unit_ms, unit = next(found for found in units if length_ms % found[0] == 0)
    return f"{length_ms // unit_ms:,} {unit}"


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
    control, treatment = arms(report)
    regions = ", ".join(report["targeted_regions"])
    only = f"; only {escape(regions)}" if regions else ""
    out.print(
        f"{report['kind']} [bold]{escape(report['experiment'])}[/bold]: {treatment} compared with"
        f" {control} by {report['unit']}; weight {weights}{only}"
    )
    if not report["covers_experiment"]:
        out.print("[yellow]A part of the experiment: no verdict[/yellow]")


def arms(report: dict[str, Any]) -> tuple[str, str]:
    """The arms with their versions, such as `stable v1`."""
    control, treatment = (f"{arm} {report[arm]}" for arm in report["arms"])
    return control, treatment


def print_end(out: Console, report: dict[str, Any]) -> None:
    """When the experiment ended, if it is over."""
    if report["ended_ms"] is not None:
        out.print(f"[yellow]ended {time(report['ended_ms'])} UTC; not in force[/yellow]")


def print_settling(out: Console, report: dict[str, Any]) -> None:
    """How many units count for the verdict."""
    settling = report["settling"]
    settled = sum(settling["settled"].values())
    units = settled + settling["settling"] + settling["changed_sides"]
    line = (
        f"{settled:,} of {units:,} {report['unit']}s are settled"
        f" ({duration(settling['settle_ms'])} old)"
    )
    if settling["settling"]:
        line += f", {settling['settling']:,} are younger"
    if settling["changed_sides"]:
        line += f"; {settling['changed_sides']:,} left out: a change of the weight moved them"
    out.print(line)


def print_srm(
    out: Console,
    report: dict[str, Any],
    srm: dict[str, Any],
    units: str,
    mismatch: str = "[bold red]MISMATCH[/bold red]",
) -> None:
    """An SRM check in one line.

    Args:
        report: The report, or the part of it, that names the arms.
        units: What is counted: `units`, or the units with `feedback`.
        mismatch: The text for a significant mismatch.
    """
    control, treatment = report["arms"]
    result = mismatch if srm["invalid"] else "no mismatch"
    out.print(
        f"SRM, {units}: {srm[control]:,} {control}, {srm[treatment]:,} {treatment}"
        f" ({srm[f'expected_{treatment}']:,.0f} expected): {result}"
        f" (p = {srm['p']:.2g}, always valid)"
    )


def comparison_table(
    report: dict[str, Any],
    rows: Iterable[tuple[str, dict[str, Any]]],
    unit: str | None = None,
) -> Table:
    """Both arms and their difference.

    Args:
        report: The report, which names the arms.
        rows: The name and the comparison of each row.
        unit: For comparisons without a `unit`.
    """
    control, treatment = report["arms"]
    shown = list(rows)
    has_tolerance = any("tolerance" in row for _, row in shown)
    tolerances = ("tolerance",) if has_tolerance else ()
    intervals = ("95 % always valid", "95 % single look")
    table = Table("", *arms(report), "difference", *intervals, *tolerances, "units", "finding")
    for name, row in shown:
        row_unit = row.get("unit", unit)
        tolerance = [_tolerance(row.get("tolerance"), row_unit)] if has_tolerance else []
        table.add_row(
            name,
            level(row[control], row_unit),
            level(row[treatment], row_unit),
            _difference_cell(row["difference"], row_unit),
            interval(row["interval"], row_unit),
            interval(row["fixed_horizon_interval"], row_unit),
            *tolerance,
            f"{row['units'][control]:,} + {row['units'][treatment]:,}",
            row.get("finding", ""),
        )
    return table


def print_slices(
    out: Console,
    report: dict[str, Any],
    measure: str,
    tolerance: float,
    unit: str | None = None,
) -> None:
    """Tables by region and by epoch, if there are several: rows that say something.

    Args:
        tolerance: Of the measure. A row is shown if its interval excludes 0, or if its ends are
            less than 20 tolerances apart.
    """
    regions = [(row["region"] or "unknown", row) for row in report["regions"]]
    epochs = [(f"{row['epoch']}, {100 * row['weight']:g} %", row) for row in report["by_epoch"]]
    for by, rows in (("region", regions), ("epoch", epochs)):
        if len(rows) > 1:
            telling = [row for row in rows if _is_telling(row[1]["interval"], 20 * tolerance)]
            hidden = len(rows) - len(telling)
            more = f"; {hidden} of {len(rows)} have too few units to show" if hidden else ""
            out.print(f"\n{measure} by {by} (for diagnosis; simultaneous intervals){more}")
            if telling:
                out.print(comparison_table(report, telling, unit))


def _is_telling(ends: Sequence[float | None], widest: float) -> bool:
    low, high = ends
    if low is None or high is None:
        return False
    return low > 0 or high < 0 or high - low < widest


def _difference_cell(number: float | None, unit: str | None) -> str:
    return "-" if number is None else _signed(number, unit) + (f" {unit}" if unit else "")


def _tolerance(number: float | None, unit: str | None) -> str:
    return "" if number is None else f"±{_difference_cell(number, unit).lstrip('+')}"


def _signed(number: float | None, unit: str | None) -> str:
    """A difference without its unit; in percentage points if it has none."""
    if number is None:
        return "-"
    scaled = 100 * number if unit is None else number
    number = round(scaled, MAX_DECIMALS) + 0.0  # no negative zero
    text = figure(number, 2)
    return text if number < 0 else f"+{text}"
