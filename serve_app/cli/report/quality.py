"""The quality of the versions of a split as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from serve_app.cli.report import text
from serve_app.cli.report.explain import Explanation
from serve_app.cli.tables import Table

EXPLAIN: Explanation = (
    (
        "right, as users told",
        (
            "Of the answers of a version itself that users called right or wrong, or whose true"
            " label they told. Users who are annoyed tell more often, so this decides nothing."
        ),
    ),
)


def show(out: Console, report: dict[str, Any]) -> None:
    """Print the `quality` of a report on a split: accuracy, and what was taken for what."""
    versions = report["quality"]["versions"]
    if unknown := report["quality"]["unknown_labels"]:
        out.print(f"\nfeedback with a label that no version has, not counted: {unknown:,}")
    if not any(version["predictions"] for version in versions):
        out.print("right, as users told: nobody told")
        return
    labels = sorted({k for v in versions for row in v["confusion"].values() for k in row})
    out.print()
    accuracy = Table("right, as users told", "answers", "right (95 %)")
    said = (f"said {label}" for label in labels)
    confusion = Table("", "true label", *said, "right (95 %, simultaneous)")
    for arm, version in zip(report["arms"], versions, strict=True):
        name = f"{arm} {version['version']}"
        accuracy.add_row(name, f"{version['predictions']:,}", text.rate(version["accuracy"]))
        for truth, predicted in version["confusion"].items():
            counts = (f"{predicted.get(label, 0):,.0f}" for label in labels)
            recall = version["recall"].get(truth)
            confusion.add_row(name, truth, *counts, text.rate(recall) if recall else "none")
    out.print(accuracy)
    out.print("(who tells is self-selected: no verdict)")
    out.print(confusion)
