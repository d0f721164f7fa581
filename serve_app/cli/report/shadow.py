"""`report shadow` as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from serve_app.cli.report import reviews, text
from serve_app.cli.tables import Table
from serve_app.clock import HOUR_MS

MAX_REGION_WIDTH = 0.5  # of the interval of a region that is shown; a share

EXPLAIN: tuple[tuple[str, str], ...] = (
    ("copies", "Images that were sent to the candidate too: copied, failed, or shed under load."),
    (
        "they stand for",
        (
            "Copies are weighted so that a time with few copies counts as much as one with many."
            " Times without any copy are not covered."
        ),
    ),
    ("copies that failed", "The candidate gave an error or was too slow. Its tolerance is a key."),
    (
        "other label than stable",
        (
            "How often the versions disagree. It does not say which one is right: reviews and"
            " feedback do."
        ),
    ),
    (
        "if each failed copy were another",
        "The lowest agreement: a candidate that fails on hard images cannot hide it.",
    ),
    ("candidate predicts", "How often it gives a label that stable does not know, right or wrong."),
    (
        "95 % always valid",
        (
            "Contains the true rate with a probability of 95 % at all looks together, so look as"
            " often as you like. Images of one user count less, because they resemble each other."
        ),
    ),
    ("load", "Whether the candidate carried the requests of the busiest minute."),
    ("stable ↓ candidate →", "The share of images with each pair of labels."),
    ("labels changed", "The labels of two halves of the shadow differ at the same hours of day."),
    (
        "reviews",
        "Images that people labelled without seeing the predictions. A user has one vote.",
    ),
)


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the report."""
    stable, candidate = text.arms(report)
    text.print_header(out, report, f"Shadow, {candidate} compared with {stable}")
    text.print_verdict(out, report)
    samples = ", ".join(
        f"{100 * epoch['sample']:g} % since {text.time(epoch['from_ms'])}"
        for epoch in report["epochs"]
    )
    out.print(f"{report['kind']} [bold]{escape(report['experiment'])}[/bold]; sample {samples}")
    text.print_end(out, report)
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in report["outcomes"].items())
    errors = ", ".join(f"{count:,} {code}" for code, count in report["errors"].items() if code)
    covered = text.percent(report["covered_share"])
    out.print(
        f"copies: {outcomes}" + (f" ({errors})" if errors else "") + f"; they stand for {covered}"
        " of the images that stable answered"
    )
    out.print()
    out.print(_rates_table(report))
    model_ms = report["model_ms"]
    out.print(
        f"\nmean model time on the same images: stable {text.ms(model_ms['stable'])}, candidate"
        f" {text.ms(model_ms['candidate'])}, difference {text.interval(model_ms['interval'], 'ms')}"
    )
    out.print(f"load: {report['load']['sentence']}\n")
    out.print(_transition_table(report))
    if new := ", ".join(report["labels"]["new"]):
        _print_by_region(out, new, report["new_labels"]["by_region"])
        _print_by_hour(out, new, report["new_labels"]["by_hour"])
    for role in ("stable", "candidate"):
        drift = report["drift"][role]
        if drift["drift"]:
            out.print(
                f"\nlabels of {role} changed from the first to the second half, at like hours:"
                f" {drift['divergence_bits']:.4f} bits (threshold {drift['noise_bits']:.4f})"
            )
    reviews.show(out, report)
    reviews.show_told(out, report)


def _rates_table(report: dict[str, Any]) -> Table:
    """Rates of the copies with their tolerances."""
    table = Table("", "rate (95 % always valid)", "tolerance", "images", "finding")
    shared, new = (report["labels"][kind] for kind in ("shared", "new"))
    rows = [("copies that failed", report["failures"])]
    if shared:
        names = " or ".join(shared)
        rows += [
            (f"other label than stable, where candidate predicts {names}", report["disagreement"]),
            ("  same label", report["agreement"]),
            ("  same label, if each failed copy were another", report["agreement_with_failures"]),
        ]
    if new:
        rows.append((f"candidate predicts {', '.join(new)}", report["new_labels"]["rate"]))
    for name, row in rows:
        tolerance = row.get("tolerance")
        table.add_row(
            name,
            text.rate(row),
            "" if tolerance is None else text.percent(tolerance),
            f"{row['images']:,.0f}",
            row.get("finding", ""),
        )
    return table


def _print_by_region(out: Console, new: str, rows: list[dict[str, Any]]) -> None:
    """The rate of new labels by region, highest first; only regions of which enough is known."""
    shown = [row for row in rows if row["interval"][1] - row["interval"][0] <= MAX_REGION_WIDTH]
    hidden = len(rows) - len(shown)
    more = f"; {hidden} of {len(rows)} with too few images are not shown" if hidden else ""
    out.print(f"\n{new} by region (simultaneous intervals{more})")
    if not shown:
        return
    regions = Table("region", "rate (95 % always valid)", "images")
    for row in sorted(shown, key=lambda row: -(row["estimate"] or 0)):
        regions.add_row(row["region"] or "unknown", text.rate(row), f"{row['images']:,.0f}")
    out.print(regions)


def _print_by_hour(out: Console, new: str, rows: list[dict[str, Any]]) -> None:
    """The rate of new labels over time, and its peak. An hour without copies is blank."""
    if len(rows) < 2:
        return
    points = [{"at_ms": row["at_ms"], "rate": row["estimate"] or 0.0} for row in rows]
    peak = max(points, key=lambda point: point["rate"])
    out.print()
    series = {"slot_ms": HOUR_MS, "points": points}
    text.print_timeline(out, f"{new} by hour", series, "rate")
    out.print(f"peak at {text.time(peak['at_ms'])} UTC: {text.percent(peak['rate'])}")


def _transition_table(report: dict[str, Any]) -> Table:
    matrix = report["transitions"]
    title = f"stable {report['stable']} ↓ candidate {report['candidate']} →"
    table = Table(title, *matrix["candidate"])
    for label, shares in zip(matrix["stable"], matrix["shares"], strict=True):
        table.add_row(label or "none", *(text.percent(share) for share in shares))
    return table
