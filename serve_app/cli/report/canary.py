"""`report canary`, for the eye."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from serve_app.cli.report import text


def show(out: Console, report: dict[str, Any]) -> None:
    """Print it."""
    text.head(out, report, "Canary")
    text.verdict(out, report)
    text.experiment(out, report)
    text.mismatch(out, report["srm"])
    for version in (report["control"], report["treatment"]):
        out.print(f"{version}  {text.timeline(report['series'], 'exposures', version=version)}")
    out.print()
    out.print(text.comparisons([(m["measure"], m) for m in report["measures"]]))
    out.print(f"by unit, on whole days, from {text.when(report['measured']['since_ms'])} UTC on\n")
    out.print(_versions(report))
    _classes(out, report["classes"])
    out.print()
    reasons = Table("version", "reason", "exposures", "errors", "fallbacks", box=None)
    for row in report["reasons"]:
        counts = (f"{row[name]:,}" for name in ("exposures", "errors", "fallbacks"))
        reasons.add_row(row["version"] or "-", row["reason"], *counts)
    out.print(reasons)
    text.slices(out, report, "answers that failed")


def _versions(report: dict[str, Any]) -> Table:
    """Latencies and confidence; descriptive."""
    table = Table("version", "latency p50", "p95", "p99", "model p50", "p95", "p99", box=None)
    table.add_column("confidence")
    for version in (report["control"], report["treatment"]):
        quantiles = [
            text.ms((report[kind][version] or {}).get(q))
            for kind in ("latency_ms", "model_ms")
            for q in ("p50", "p95", "p99")
        ]
        table.add_row(version, *quantiles, text.percent(report["confidence"][version]))
    return table


def _classes(out: Console, classes: dict[str, Any]) -> None:
    labels = sorted({label for mix in classes["shares"].values() for label in mix})
    table = Table("answers, in the same hours", *labels, box=None)
    for version, mix in classes["shares"].items():
        table.add_row(version, *(text.percent(mix[label]) for label in labels))
    out.print()
    out.print(table)
    if classes["divergence_bits"] is not None:
        word = "more than chance explains" if classes["drift"] else "no more than chance explains"
        out.print(
            f"on {', '.join(classes['shared'])} they differ by {classes['divergence_bits']:.4f}"
            f" bits (Jensen-Shannon), {word} ({classes['noise_bits']:.4f}, one look)"
        )
