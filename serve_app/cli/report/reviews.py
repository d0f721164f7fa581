"""The review section of `report shadow` as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from serve_app.cli.report import text


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the `reviews` of a shadow report."""
    stable, candidate = report["stable"], report["candidate"]
    reviews = report["reviews"]
    disagreements, agreements = reviews["disagreements"], reviews["agreements"]
    header = f"\nreviews: {reviews['reviewed']:,} images reviewed, {reviews['waiting']:,} waiting"
    if not reviews["reviewed"]:
        out.print(f"{header}; which version is right is not known")
        return
    out.print(header)
    out.print(
        f"disagreements: {disagreements['only_stable']:,} only {stable} right,"
        f" {disagreements['only_candidate']:,} only {candidate} right,"
        f" {disagreements['both_wrong']:,} both wrong, {_not_counted(disagreements)}"
    )
    out.print(
        f"{candidate} right where exactly one version is right:"
        f" {_paired_test(disagreements, report)}"
    )
    new = ", ".join(report["labels"]["new"]) or "a new label"
    shared = " or ".join(report["labels"]["shared"])
    out.print(
        f"hijack rate ({candidate} predicts {new}, true label {shared}):"
        f" {text.rate(reviews['hijack_rate'])}"
    )
    out.print(
        f"agreements: both wrong in {text.rate(agreements['both_wrong'])},"
        f" {_not_counted(agreements)}"
    )


def _paired_test(disagreements: dict[str, Any], report: dict[str, Any]) -> str:
    if disagreements["candidate_right"] is None:
        return "not known"
    better = disagreements["better"]
    verdict = f"{report[better]} is better" if better else "no difference shown"
    return (
        f"{text.rate(disagreements['candidate_right'])}, {verdict}"
        f" (p = {disagreements['p']:.2g}, always valid)"
    )


def _not_counted(counts: dict[str, Any]) -> str:
    excluded = (
        f", {counts['excluded']:,} excluded (other keep probability)" if counts["excluded"] else ""
    )
    return f"{counts['cannot_tell']:,} undecidable{excluded}"
