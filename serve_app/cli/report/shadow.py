"""`report shadow` as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serve_app.cli.report import reviews, text
from serve_app.clock import HOUR_MS


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the report."""
    stable, candidate = report["stable"], report["candidate"]
    text.print_header(out, report, f"Shadow, {candidate} compared with {stable}")
    samples = ", ".join(
        f"{100 * epoch['sample']:g} % since {text.time(epoch['from_ms'])}"
        for epoch in report["epochs"]
    )
    out.print(f"{report['kind']} [bold]{escape(report['experiment'])}[/bold]; sample {samples}")
    text.print_end(out, report)
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in report["outcomes"].items())
    errors = ", ".join(f"{count:,} {code}" for code, count in report["errors"].items() if code)
    out.print(f"copies: {outcomes}" + (f" ({errors})" if errors else ""))
    new_labels = report["new_labels"]
    new = ", ".join(report["labels"]["new"]) or "a new label"
    shared = " or ".join(report["labels"]["shared"])
    out.print(f"agreement where {candidate} predicts {shared}: {text.rate(report['agreement'])}")
    out.print(
        f"{candidate} predicts {new}: {text.rate(new_labels['rate'])}; right or wrong is not"
        " measured here"
    )
    model_ms = report["model_ms"]
    out.print(
        f"mean model time on the same images: {stable} {text.ms(model_ms['stable'])},"
        f" {candidate} {text.ms(model_ms['candidate'])}, difference"
        f" {text.interval(model_ms['interval'], 'ms')}"
    )
    out.print(f"load: {report['load']['sentence']}\n")
    out.print(_transition_table(report))
    out.print()
    regions = Table(f"{new} by region", "rate (95 %, simultaneous)", "images", box=None)
    for row in sorted(new_labels["by_region"], key=lambda row: -(row["estimate"] or 0)):
        regions.add_row(row["region"] or "unknown", text.rate(row), f"{row['images']:,.0f}")
    out.print(regions)
    _print_by_hour(out, new, new_labels["by_hour"])
    for version, role in ((stable, "stable"), (candidate, "candidate")):
        drift = report["drift"][role]
        if drift["drift"]:
            out.print(
                f"label drift of {version} from the first to the second half:"
                f" {drift['divergence_bits']:.4f} bits (threshold {drift['noise_bits']:.4f})"
            )
    reviews.show(out, report)


def _print_by_hour(out: Console, new: str, rows: list[dict[str, Any]]) -> None:
    """The rate of new labels over time, and its peak. An hour without copies is blank."""
    if len(rows) < 2:
        return
    points = [{"at_ms": row["at_ms"], "rate": row["estimate"] or 0.0} for row in rows]
    bars = text.timeline({"slot_ms": HOUR_MS, "points": points}, "rate")
    first, last = points[0]["at_ms"], points[-1]["at_ms"]
    peak = max(points, key=lambda point: point["rate"])
    out.print(
        f"\n{new} by hour  {bars}  {text.time(first)} to {text.time(last)} UTC\n"
        f"peak at {text.time(peak['at_ms'])} UTC: {text.percent(peak['rate'])}"
    )


def _transition_table(report: dict[str, Any]) -> Table:
    matrix = report["transitions"]
    table = Table(f"{report['stable']} ↓ {report['candidate']} →", *matrix["candidate"], box=None)
    for label, shares in zip(matrix["stable"], matrix["shares"], strict=True):
        table.add_row(label or "none", *(text.percent(share) for share in shares))
    return table
