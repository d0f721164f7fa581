"""`report traffic` as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from serve_app.cli.report import text
from serve_app.cli.report.explain import ASSIGNMENT, Explanation
from serve_app.cli.tables import Table

EXPLAIN: Explanation = (
    *ASSIGNMENT,
    (
        "recording",
        (
            "Every exposure has a number, so those that did not reach the store are known: dropped"
            " because the store did not keep up, or missing: dropped, lost, or still on the way."
        ),
    ),
    (
        "planned share",
        "The weight: the share of the units that the rule gives to the new version.",
    ),
    (
        "of new units, of exposures",
        (
            "The share that it got: of the units that were first assigned in this epoch, and of"
            " their exposures. Users with many requests move the second one, which is no fault."
        ),
    ),
)


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the report."""
    text.print_header(out, report, "Traffic")
    recording = report["recording"]
    out.print(
        f"{report['exposures']:,} exposures, {report['errors']:,} errors"
        f" ({report['fallbacks']:,} fallbacks); recording: {recording['stored']:,} stored,"
        f" {recording['dropped']:,} dropped, {recording['missing']:,} missing"
    )
    text.print_timeline(out, "exposures", report["series"], "exposures")
    out.print()
    epochs = Table("epoch", "rule", "from", "planned share", "of new units", "of exposures")
    counts = ("exposures", "share", "errors", "fallbacks", "mean latency")
    groups = Table("epoch", "version", "reason", *counts)
    for epoch in report["epochs"]:
        epochs.add_row(
            str(epoch["epoch"]),
            _rule(epoch),
            text.time(epoch["from_ms"]),
            *(text.percent(epoch[f"{of}_share"]) for of in ("planned", "unit", "exposure")),
        )
        for group in epoch["groups"]:
            groups.add_row(
                str(epoch["epoch"]),
                group["version"] or "-",
                group["reason"],
                f"{group['exposures']:,}",
                text.percent(group["share"]),
                f"{group['errors']:,}",
                f"{group['fallbacks']:,}",
                text.ms(group["mean_latency_ms"]),
            )
    out.print(epochs)
    out.print()
    out.print(groups)
    for experiment in report["experiments"]:
        out.print()
        text.print_experiment(out, experiment)
        text.print_srm(out, experiment, experiment["srm"], "units")
    out.print()
    regions = Table("region", "exposures", "errors", "fallbacks")
    for row in report["regions"]:
        regions.add_row(
            row["region"] or "unknown",
            f"{row['exposures']:,}",
            f"{row['errors']:,}",
            f"{row['fallbacks']:,}",
        )
    out.print(regions)


def _rule(epoch: dict[str, Any]) -> str:
    experiment = f" {epoch['experiment']}" if epoch["experiment"] else ""
    return f"{epoch['kind']}{experiment}"
