"""`report shadow`, for the eye."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from serve_app.cli.report import reviews, text


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
        f"model time on the same pictures: {text.ms(model['stable'])} {stable},"
        f" {text.ms(model['candidate'])} {candidate}, difference"
        f" {text.interval(model['interval'], 'ms')}"
    )
    out.print(f"load: {report['load']['sentence']}\n")
    out.print(_transitions(report))
    out.print()
    regions = Table(f"{names} by region", "share (all hold together, 95 %)", "pictures", box=None)
    for found in sorted(new["by_region"], key=lambda found: -(found["estimate"] or 0)):
        regions.add_row(
            found["region"] or "unknown", text.share(found), f"{found['pictures']:,.0f}"
        )
    out.print(regions)
    hours = [found["estimate"] or 0.0 for found in new["by_hour"]]
    if len(hours) > 1:
        out.print(f"\n{names} by hour  {text.sparkline(hours)}")
    for version, key in ((stable, "stable"), (candidate, "candidate")):
        drift = report["drift"][key]
        if drift["drift"]:
            out.print(
                f"what {version} answers has drifted: {drift['divergence_bits']:.4f} bits between"
                f" the first and the second half, {drift['noise_bits']:.4f} is chance"
            )
    reviews.show(out, report)


def _transitions(report: dict[str, Any]) -> Table:
    matrix = report["transitions"]
    table = Table(f"{report['stable']} ↓ {report['candidate']} →", *matrix["candidate"], box=None)
    for label, shares in zip(matrix["stable"], matrix["shares"], strict=True):
        table.add_row(label or "none", *(text.percent(share) for share in shares))
    return table
