"""`report shadow`, for the eye."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from serve_app.cli.report import reviews, text
from serve_app.clock import HOUR_MS


def show(out: Console, report: dict[str, Any]) -> None:
    """Print it."""
    stable, candidate = report["stable"], report["candidate"]
    text.head(out, report, f"Shadow of {candidate} beside {stable}")
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in report["outcomes"].items())
    codes = ", ".join(f"{count:,} {code}" for code, count in report["errors"].items() if code)
    out.print(f"copies: {outcomes}" + (f" ({codes})" if codes else ""))
    new = report["new_labels"]
    names = ", ".join(report["labels"]["new"]) or "a new label"
    out.print(
        f"agreement, where {candidate} says {' or '.join(report['labels']['shared'])}:"
        f" {text.share(report['agreement'])}"
    )
    out.print(f"{candidate} says {names}: {text.share(new['rate'])}; whether rightly is not asked")
    model = report["model_ms"]
    out.print(
        f"model time on the same images: {text.ms(model['stable'])} {stable},"
        f" {text.ms(model['candidate'])} {candidate}, difference"
        f" {text.interval(model['interval'], 'ms')}"
    )
    out.print(f"load: {report['load']['sentence']}\n")
    out.print(_transitions(report))
    out.print()
    regions = Table(f"{names} by region", "share (all hold together, 95 %)", "images", box=None)
    for found in sorted(new["by_region"], key=lambda found: -(found["estimate"] or 0)):
        regions.add_row(found["region"] or "unknown", text.share(found), f"{found['images']:,.0f}")
    out.print(regions)
    _by_hour(out, names, new["by_hour"])
    for version, key in ((stable, "stable"), (candidate, "candidate")):
        drift = report["drift"][key]
        if drift["drift"]:
            out.print(
                f"what {version} answers differs by {drift['divergence_bits']:.4f} bits between"
                f" the first half and the second; {drift['noise_bits']:.4f} would be chance"
            )
    reviews.show(out, report)


def _by_hour(out: Console, names: str, found: list[dict[str, Any]]) -> None:
    """How the share went, and when it was highest; an hour without a copy is a blank."""
    if len(found) < 2:
        return
    points = [{"at_ms": hour["at_ms"], "share": hour["estimate"] or 0.0} for hour in found]
    bars = text.timeline({"slot_ms": HOUR_MS, "points": points}, "share")
    first, last = points[0]["at_ms"], points[-1]["at_ms"]
    peak = max(points, key=lambda point: point["share"])
    out.print(
        f"\n{names} by hour  {bars}  {text.when(first)} to {text.when(last)} UTC, most at"
        f" {text.when(peak['at_ms'])}: {text.percent(peak['share'])}"
    )


def _transitions(report: dict[str, Any]) -> Table:
    matrix = report["transitions"]
    table = Table(f"{report['stable']} ↓ {report['candidate']} →", *matrix["candidate"], box=None)
    for label, shares in zip(matrix["stable"], matrix["shares"], strict=True):
        table.add_row(label or "none", *(text.percent(share) for share in shares))
    return table
