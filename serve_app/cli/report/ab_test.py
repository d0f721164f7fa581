"""`report ab` as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from serve_app.cli.report import text


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the report."""
    text.print_header(out, report, "A/B test")
    text.print_verdict(out, report)
    text.print_experiment(out, report)
    text.print_end(out, report)
    text.print_srm(out, report["srm"], "units")
    text.print_srm(out, report["feedback_srm"], "feedback", mismatch="response rates differ")
    feedback, overall = report["feedback"], report["overall"]
    out.print(
        f"feedback on {feedback['eligible']:,} predictions, {feedback['late']:,} of it late"
        f" (window {report['outcome']['window']})\n"
    )
    unit = overall["unit"]
    rows = [(overall["measure"], overall)]
    for key, name in (
        ("shared_labels", f"true label {_names(report['labels']['shared'])}"),
        ("new_labels", f"true label {_names(report['labels']['new'])}"),
        ("unknown_truth", "true label unknown"),
    ):
        if report[key]:
            rows.append((f"  {name}", report[key]))
    responders = report["responders"]
    rows.append((responders["measure"], responders["mean"]))
    out.print(text.comparison_table(rows, unit))
    coverage = responders["coverage"]
    out.print(
        f"\nfeedback coverage: {text.percent(coverage['control'])} of control units,"
        f" {text.percent(coverage['treatment'])} of treatment units"
    )
    out.print(
        "worst-case difference over units without feedback:"
        f" {text.interval(responders['worst_case_interval'], unit)}"
    )
    if overall["detectable_effect"] is not None:
        out.print(
            f"detectable difference at 80 % power:"
            f" {text.difference(overall['detectable_effect'], unit)} now;"
            f" {text.difference(overall['min_effect'], unit)} needs"
            f" {_units(overall['units_needed'])} units"
        )
    if report["labels"]["new"]:
        out.print(
            f"hijack rate (predicted {_names(report['labels']['new'])}, true label"
            f" {_names(report['labels']['shared'])}): {_hijack_rate(report['hijack_rate'])}"
        )
    text.print_slices(out, report, overall["measure"], unit)


def _names(labels: list[str]) -> str:
    return " or ".join(labels)


def _hijack_rate(rate: dict[str, Any]) -> str:
    if rate["estimate"] is None:
        return "not known"
    return (
        f"{text.percent(rate['estimate'])} of {rate['predictions']:,} with feedback"
        " (complaints are over-represented)"
    )


def _units(count: int | None) -> str:
    return "more than 10^12" if count is None else f"{count:,}"
