"""`report canary` as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from serve_app.cli.report import gate, quality, text
from serve_app.cli.report.explain import ASSIGNMENT, COMPARISON, Explanation
from serve_app.cli.tables import Table

EXPLAIN: Explanation = (
    *ASSIGNMENT,
    *COMPARISON,
    (
        "units with a failure",
        (
            "The share of settled units with an error or a fallback, or with an answer that hung:"
            " one that took ten times as long as a slow one."
        ),
    ),
    (
        "mean latency",
        (
            "The mean over settled units of each one's mean. From the arrival of the request to"
            " the answer; a fallback includes the time that the candidate took."
        ),
    ),
    (
        "mean model time",
        "The same for the time of the network alone, of answers of the assigned version itself.",
    ),
    (
        "exposures a unit, units that came back",
        (
            "Guardrails: they decide nothing. Fewer in the candidate mean that its users leave;"
            " then figures by exposure favour it."
        ),
    ),
    (
        "slow first answers",
        "Units whose first answer took longer than the limit, which is fixed for the experiment.",
    ),
    ("answers", "All exposures one by one, for description: users with many count often."),
    *quality.EXPLAIN,
    (
        "Jensen-Shannon divergence",
        (
            "How much the predicted labels of the versions differ: 0 bits if alike, 1 if they have"
            " none in common. Below the threshold, chance explains it."
        ),
    ),
    *gate.EXPLAIN,
)


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the report."""
    text.print_header(out, report, "Canary")
    text.print_verdict(out, report)
    for warning in report["warnings"]:
        out.print(f"[yellow]Note: {escape(warning)}[/yellow]")
    text.print_experiment(out, report)
    text.print_end(out, report)
    text.print_settling(out, report)
    text.print_srm(out, report, report["srm"], "units")
    for arm in report["arms"]:
        name = f"exposures of {arm} {report[arm]}"
        text.print_timeline(out, name, report["series"], "exposures", version=report[arm])
    out.print()
    figures = (*report["measures"], *report["guardrails"])
    out.print(text.comparison_table(report, [(row["measure"], row) for row in figures]))
    limit = report["slow_limit"]
    if limit:
        out.print(f"slow: more than {text.ms(limit['slow_ms'])}, {limit['source']}")
    quality.show(out, report)
    out.print()
    out.print(_answers_table(report))
    out.print()
    out.print(_latency_table(report))
    _print_classes(out, report)
    out.print()
    reasons = Table("version", "reason", "exposures", "errors", "fallbacks")
    for row in report["reasons"]:
        counts = (f"{row[name]:,}" for name in ("exposures", "errors", "fallbacks"))
        reasons.add_row(row["version"] or "-", row["reason"], *counts)
    out.print(reasons)
    failures = report["measures"][0]
    text.print_slices(out, report, failures["measure"], failures["tolerance"])
    gate.show(out, report)


def _answers_table(report: dict[str, Any]) -> Table:
    """The answers one by one, and why they failed; descriptive."""
    table = Table("answers", "exposures", "failed", "fallbacks", "mean latency", "errors")
    for arm, row in zip(report["arms"], report["answers"], strict=True):
        share = text.percent(row["errors"] / row["exposures"] if row["exposures"] else None)
        codes = ", ".join(f"{count:,} {code}" for code, count in row["error_codes"].items())
        table.add_row(
            f"{arm} {row['version']}",
            f"{row['exposures']:,}",
            share,
            f"{row['fallbacks']:,}",
            text.ms(row["mean_latency_ms"]),
            codes or "none",
        )
    return table


def _latency_table(report: dict[str, Any]) -> Table:
    """Latency quantiles and mean confidence of both versions; descriptive."""
    times = (f"{of} {q}" for of in ("latency", "model time") for q in ("p50", "p95", "p99"))
    table = Table("", *times, "mean confidence")
    for arm in report["arms"]:
        version = report[arm]
        quantiles = [
            text.ms((report[kind][version] or {}).get(q))
            for kind in ("latency_ms", "model_ms")
            for q in ("p50", "p95", "p99")
        ]
        table.add_row(f"{arm} {version}", *quantiles, text.percent(report["confidence"][arm]))
    return table


def _print_classes(out: Console, report: dict[str, Any]) -> None:
    classes = report["classes"]
    labels = sorted({label for shares in classes["shares"].values() for label in shares})
    table = Table("predicted labels, same hours", *labels)
    for arm in report["arms"]:
        shares = classes["shares"][report[arm]]
        table.add_row(f"{arm} {report[arm]}", *(text.percent(shares[label]) for label in labels))
    out.print()
    out.print(table)
    for names, drift in (
        ("all labels", classes["all_labels"]),
        (", ".join(classes["shared"]), classes),
    ):
        if drift["divergence_bits"] is not None:
            finding = "they differ" if drift["drift"] else "no difference shown"
            out.print(
                f"Jensen-Shannon divergence on {names}: {drift['divergence_bits']:.4f} bits,"
                f" {finding} (threshold {drift['noise_bits']:.4f}, single look)"
            )
