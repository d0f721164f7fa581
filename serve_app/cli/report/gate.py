"""The gate of `report canary` as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from serve_app.cli.report import text
from serve_app.cli.report.explain import Explanation
from serve_app.cli.tables import Table

EXPLAIN: Explanation = (
    (
        "gate",
        (
            "What would hold if the weight were raised automatically: roll back if harm is proved,"
            " pass if the candidate is proved not to be worse by the margin, else hold. Nothing"
            " acts on it."
        ),
    ),
    (
        "e-value",
        (
            "How much more likely the counts are under a difference than without. Proof is 1 /"
            " alpha; the probability that it is ever reached by chance, at any look, is at most"
            " alpha."
        ),
    ),
    (
        "margin",
        "How much worse the candidate may be at this weight: more while few units get it.",
    ),
)


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the `gate` of a canary report."""
    found, (stable, candidate) = report["gate"], report["arms"]
    out.print(
        f"\na gate at {100 * found['weight']:g} % would say: [bold]{found['action']}[/bold]"
        " (for information)"
    )
    for reason in found["reasons"]:
        out.print(f"  {escape(reason)}")
    table = Table("units with", *text.arms(report), "harm", "not worse", "margin")
    for row in found["metrics"]:
        rates = row["rates"]
        table.add_row(
            row["metric"],
            text.percent(rates[stable]),
            text.percent(rates[candidate]),
            f"{row['harm_e_value']:.3g} of {row['harm_threshold']:g}",
            f"{row['pass_e_value']:.3g} of {row['pass_threshold']:g}",
            text.difference(row["margin"], None),
        )
    out.print(table)
