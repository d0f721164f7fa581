"""`report canary` as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from serve_app.cli.report import text


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the report."""
    text.print_header(out, report, "Canary")
    text.print_verdict(out, report)
    text.print_experiment(out, report)
    text.print_end(out, report)
    text.print_srm(out, report["srm"], "units")
    for version in (report["control"], report["treatment"]):
        exposures = text.timeline(report["series"], "exposures", version=version)
        out.print(f"exposures of {version}  {exposures}")
    out.print()
    out.print(text.comparison_table([(m["measure"], m) for m in report["measures"]]))
    days = report["measured_period"]
    since, until = text.time(days["since_ms"]), text.time(days["until_ms"])
    out.print(f"measured by unit over whole UTC days, from {since} to {until}\n")
    out.print(_latency_table(report))
    _print_classes(out, report["classes"])
    out.print()
    reasons = Table("version", "reason", "exposures", "errors", "fallbacks", box=None)
    for row in report["reasons"]:
        counts = (f"{row[name]:,}" for name in ("exposures", "errors", "fallbacks"))
        reasons.add_row(row["version"] or "-", row["reason"], *counts)
    out.print(reasons)
    text.print_slices(out, report, "error rate")


def _latency_table(report: dict[str, Any]) -> Table:
    """Latency quantiles and mean confidence of both versions; descriptive."""
    table = Table("version", "latency p50", "p95", "p99", "model time p50", "p95", "p99", box=None)
    table.add_column("mean confidence")
    for version in (report["control"], report["treatment"]):
        quantiles = [
            text.ms((report[kind][version] or {}).get(q))
            for kind in ("latency_ms", "model_ms")
            for q in ("p50", "p95", "p99")
        ]
        table.add_row(version, *quantiles, text.percent(report["confidence"][version]))
    return table


def _print_classes(out: Console, classes: dict[str, Any]) -> None:
    labels = sorted({label for shares in classes["shares"].values() for label in shares})
    table = Table("predicted labels, same hours", *labels, box=None)
    for version, shares in classes["shares"].items():
        table.add_row(version, *(text.percent(shares[label]) for label in labels))
    out.print()
    out.print(table)
    if classes["divergence_bits"] is not None:
        finding = "drift" if classes["drift"] else "no drift"
        out.print(
            f"Jensen-Shannon divergence on {', '.join(classes['shared'])}:"
            f" {classes['divergence_bits']:.4f} bits, {finding} (threshold"
            f" {classes['noise_bits']:.4f}, single look)"
        )
