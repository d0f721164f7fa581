"""`report traffic`, for the eye."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serve_app.cli.report import text


def show(out: Console, report: dict[str, Any]) -> None:
    """Print it."""
    text.head(out, report, "Traffic")
    out.print(
        f"{report['exposures']:,} exposures, {report['errors']:,} errors, of which"
        f" {report['fallbacks']:,} fallbacks; recorded: {report['recording']['stored']:,} stored,"
        f" {report['recording']['dropped']:,} dropped, {report['recording']['missing']:,} missing"
    )
    out.print(f"{text.timeline(report['series'], 'exposures')}\n")
    table = Table("epoch", "rule", "from", "version", "reason", "exposures", box=None)
    for column in ("share", "errors", "fallbacks", "latency", "planned", "actual"):
        table.add_column(column)
    for epoch in report["epochs"]:
        for number, group in enumerate(epoch["groups"]):
            first = number == 0
            table.add_row(
                str(epoch["epoch"]) if first else "",
                _rule(epoch) if first else "",
                text.when(epoch["from_ms"]) if first else "",
                group["version"] or "-",
                group["reason"],
                f"{group['exposures']:,}",
                text.percent(group["share"]),
                f"{group['errors']:,}",
                f"{group['fallbacks']:,}",
                text.ms(group["mean_latency_ms"]),
                text.percent(epoch["planned_share"]) if first else "",
                text.percent(epoch["actual_share"]) if first else "",
            )
    out.print(table)
    for experiment in report["experiments"]:
        out.print()
        text.experiment(out, experiment)
        text.mismatch(out, experiment["srm"])
    out.print()
    regions = Table("region", "exposures", "errors", "fallbacks", box=None)
    for region in report["regions"]:
        regions.add_row(
            region["region"] or "unknown",
            f"{region['exposures']:,}",
            f"{region['errors']:,}",
            f"{region['fallbacks']:,}",
        )
    out.print(regions)


def _rule(epoch: dict[str, Any]) -> str:
    name = f" {epoch['experiment']}" if epoch["experiment"] else ""
    return escape(f"{epoch['kind']}{name}")
