"""`report ab`, for the eye."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from serve_app.cli.report import text


def show(out: Console, report: dict[str, Any]) -> None:
    """Print it."""
    text.head(out, report, "A/B test")
    text.verdict(out, report)
    text.experiment(out, report)
    text.mismatch(out, report["srm"])
    text.mismatch(
        out, report["feedback_srm"], "units that spoke", otherwise="one arm speaks more often"
    )
    feedback, overall = report["feedback"], report["overall"]
    out.print(
        f"feedback on {feedback['words']:,} answers, {feedback['too_late']:,} of it after the"
        f" window of {report['outcome']['window']}\n"
    )
    unit = overall["unit"]
    rows = [(overall["measure"], overall)]
    for key, name in (
        ("shared_labels", f"of {', '.join(report['labels']['shared'])}"),
        ("new_labels", f"of {', '.join(report['labels']['new'])}"),
        ("truth_not_told", "truth not told"),
    ):
        if report[key]:
            rows.append((f"  {name}", report[key]))
    responders = report["responders"]
    rows.append((responders["measure"], responders["among"]))
    out.print(text.comparisons(rows, unit))
    coverage = responders["coverage"]
    out.print(
        f"\nspoke: {text.percent(coverage['control'])} of control,"
        f" {text.percent(coverage['treatment'])} of treatment; whatever the silent would have said,"
        f" the difference is {text.interval(responders['worst_case'], unit)}"
    )
    if overall["detectable"] is not None:
        out.print(
            f"by now a difference of {text.difference(overall['detectable'], unit)} would"
            f" show with a chance of 80 %; {text.difference(overall['min_effect'], unit)}"
            f" takes {_units(overall['units_needed'])} units"
        )
    if report["labels"]["new"]:
        out.print(
            f"hijack rate, of answers {', '.join(report['labels']['new'])} whose truth was told:"
            f" {_hijack_rate(report['hijack_rate'])}"
        )
    text.slices(out, report, overall["measure"], unit)


def _hijack_rate(found: dict[str, Any]) -> str:
    if found["estimate"] is None:
        return "not known"
    return f"{text.percent(found['estimate'])} of {found['answers']:,}; those who complain say more"


def _units(count: int | None) -> str:
    return "more than can be had" if count is None else f"{count:,}"
