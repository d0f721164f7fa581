"""What reviews tell, for the eye."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from serve_app.cli.report import text


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the `reviews` of a shadow's report."""
    stable, candidate = report["stable"], report["candidate"]
    reviews = report["reviews"]
    differing, agreeing = reviews["disagreements"], reviews["agreements"]
    head = f"\nreviews: {reviews['reviewed']:,} images, {reviews['waiting']:,} wait"
    if not reviews["reviewed"]:
        out.print(f"{head}; which version is right is not known")
        return
    out.print(head)
    out.print(
        f"where they disagree: {differing['only_stable']:,} only {stable} right,"
        f" {differing['only_candidate']:,} only {candidate}, {differing['both_wrong']:,} neither,"
        f" {_asides(differing)}"
    )
    out.print(f"of those on which one was right, {candidate}: {_paired(differing, report)}")
    names = ", ".join(report["labels"]["new"]) or "a new label"
    shared = " or ".join(report["labels"]["shared"])
    out.print(
        f"hijack rate, {shared} shown where {candidate} says {names}:"
        f" {text.share(reviews['hijack_rate'])}"
    )
    out.print(
        f"where they agree, both wrong: {text.share(agreeing['both_wrong'])}, {_asides(agreeing)}"
    )


def _paired(differing: dict[str, Any], report: dict[str, Any]) -> str:
    if differing["candidate_right"] is None:
        return "not known"
    better = differing["better"]
    verdict = f"{report[better]} is better" if better else "no difference is shown"
    return (
        f"{text.share(differing['candidate_right'])}, {verdict} (p {differing['p']:.2g}, always"
        " valid)"
    )


def _asides(found: dict[str, Any]) -> str:
    left_out = f", {found['left_out']:,} drawn otherwise left out" if found["left_out"] else ""
    return f"{found['cannot_tell']:,} cannot be told{left_out}"
