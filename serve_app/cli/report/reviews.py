"""The sections of `report shadow` on images with a known true label as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from serve_app.cli.report import text
from serve_app.cli.tables import Table

ROLES = ("stable", "candidate")


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the `reviews` of a shadow report."""
    reviews = report["reviews"]
    disagreements, agreements = reviews["disagreements"], reviews["agreements"]
    header = f"\nreviews: {reviews['reviewed']:,} images reviewed, {reviews['waiting']:,} waiting"
    if not reviews["reviewed"]:
        out.print(f"{header}; which version is right is not known")
        return
    out.print(header)
    out.print(f"disagreements: {_counts(disagreements)}, {_not_counted(disagreements)}")
    out.print(f"candidate right where exactly one is right: {_paired_test(disagreements)}")
    if new := ", ".join(report["labels"]["new"]):
        shared = " or ".join(report["labels"]["shared"])
        out.print(
            f"hijack rate (candidate predicts {new}, true label {shared}):"
            f" {text.rate(reviews['hijack_rate'])}"
        )
    out.print(
        f"agreements: both wrong in {text.rate(agreements['both_wrong'])},"
        f" {_not_counted(agreements)}"
    )
    if reviews["accuracy"] is None:
        out.print("accuracy: not known, because only agreements or only disagreements are reviewed")
        return
    out.print("accuracy on all copied images, estimated from the reviewed ones:")
    _print_accuracy(out, reviews)


def show_told(out: Console, report: dict[str, Any]) -> None:
    """Print the `told` of a shadow report."""
    told = report["told"]
    if unknown := told["unknown_labels"]:
        out.print(f"\nfeedback with a label that no version has, not counted: {unknown:,}")
    if not told["images"]:
        out.print("\nusers told the true label of no copied image")
        return
    out.print(
        f"\nusers told the true label of {told['images']:,} copied images; users with a complaint"
        " tell more often, so this decides nothing"
    )
    out.print(f"disagreements: {_counts(told['disagreements'])}")
    _print_accuracy(out, told)


def _print_accuracy(out: Console, section: dict[str, Any]) -> None:
    for role in ROLES:
        out.print(f"{role} right: {text.rate(section['accuracy'][role]['rate'])}")
    rows = [
        (role, truth, predicted)
        for role in ROLES
        for truth, predicted in section["confusion"][role].items()
    ]
    labels = sorted({label for _, _, predicted in rows for label in predicted})
    said = (f"said {label}" for label in labels)
    table = Table("", "true label", *said, "right (95 %, simultaneous)")
    for role, truth, predicted in rows:
        table.add_row(
            role,
            truth,
            *(f"{predicted.get(label, 0):,.0f}" for label in labels),
            text.rate(section["accuracy"][role]["recall"][truth]),
        )
    out.print(table)


def _counts(disagreements: dict[str, Any]) -> str:
    return (
        f"{disagreements['only_stable']:,} only stable right,"
        f" {disagreements['only_candidate']:,} only candidate right,"
        f" {disagreements['both_wrong']:,} both wrong"
    )


def _paired_test(disagreements: dict[str, Any]) -> str:
    if disagreements["candidate_right"] is None:
        return "not known"
    better = disagreements["better"]
    verdict = f"{better} is better" if better else "no difference shown"
    return (
        f"{text.rate(disagreements['candidate_right'])}, {verdict}"
        f" (p = {disagreements['p']:.2g}, always valid)"
    )


def _not_counted(counts: dict[str, Any]) -> str:
    repeated = f", {counts['repeated']:,} more of the same units" if counts["repeated"] else ""
    excluded = (
        f", {counts['excluded']:,} excluded (other keep probability)" if counts["excluded"] else ""
    )
    return f"{counts['cannot_tell']:,} undecidable{repeated}{excluded}"
