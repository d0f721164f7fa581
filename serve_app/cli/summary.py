"""What came of generated traffic, as `serve-app traffic` and `serve-app demo` show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import numpy as np
import typer
from rich.table import Table

from serve_app.cli.options import console
from serve_app.traffic.player import HttpReply, Lost, TrafficResult


def summarize(
    outcomes: Sequence[TrafficResult],
    seconds: float,
    lost: Mapping[str, Lost] = MappingProxyType({}),
) -> dict[str, Any]:
    """How many were answered, by whom, how fast, and how rightly, and what became of feedback.

    Args:
        seconds: How long all of it took.
        lost: See `serve_app.traffic.player.Played`.
    """
    answered = [outcome for outcome in outcomes if outcome.status == 200]
    latencies = [outcome.latency_ms for outcome in answered]
    failures = _failures([HttpReply(outcome.status, outcome.answer) for outcome in outcomes])
    words = [outcome.feedback for outcome in outcomes if outcome.feedback]
    groups: dict[tuple[str, str], list[TrafficResult]] = {}
    for outcome in answered:
        key = (outcome.answer.get("version", "hidden"), outcome.answer["reason"])
        groups.setdefault(key, []).append(outcome)
    return {
        "requests": len(outcomes),
        "failed": sum(failures.values()),
        "seconds": round(seconds, 2),
        "per_second": round(len(outcomes) / seconds, 1),
        "latency_ms": {
            f"p{q}": round(float(np.percentile(latencies, q)), 2) if latencies else None
            for q in (50, 95, 99)
        },
        "answers": [
            {
                "version": version,
                "reason": reason,
                "requests": len(group),
                "right": sum(outcome.answer["label"] == outcome.truth for outcome in group),
                "labels": dict(Counter(outcome.answer["label"] for outcome in group)),
            }
            for (version, reason), group in sorted(groups.items())
        ],
        "failures": dict(failures.most_common(10)),
        "feedback": {
            "acknowledged": sum(word.status == 200 for word in words),
            "rejected": sum(400 <= word.status < 500 for word in words),
            "failed": sum(word.status != 200 and not 400 <= word.status < 500 for word in words),
            "failures": dict(_failures(words).most_common(10)),
        },
        "lost": {version: asdict(users) for version, users in lost.items()},
    }


def is_complete(summary: dict[str, Any]) -> bool:
    """Whether every request was answered, and all feedback kept."""
    feedback = summary["feedback"]
    return not (summary["failed"] or feedback["rejected"] or feedback["failed"])


def print_summary(summary: dict[str, Any]) -> None:
    """For people."""
    out = console()
    latency = {q: "-" if ms is None else f"{ms} ms" for q, ms in summary["latency_ms"].items()}
    out.print(
        f"{summary['requests']:,} requests in {summary['seconds']} s"
        f" ({summary['per_second']:,}/s), [bold]{summary['failed']:,} failed[/bold];"
        f" latency p50 {latency['p50']}, p95 {latency['p95']}, p99 {latency['p99']}\n"
    )
    table = Table("version", "reason", "requests", "right", "labels", box=None)
    for group in summary["answers"]:
        labels = ", ".join(f"{count} {label}" for label, count in sorted(group["labels"].items()))
        table.add_row(
            group["version"],
            group["reason"],
            f"{group['requests']:,}",
            f"{group['right'] / group['requests']:.3f}",
            labels,
        )
    out.print(table)
    feedback = summary["feedback"]
    said = {key: feedback[key] for key in ("acknowledged", "rejected", "failed")}
    if any(said.values()):
        counts = ", ".join(f"{count:,} {key}" for key, count in said.items())
        out.print(f"\nfeedback: {counts}")
    for version, lost in summary["lost"].items():
        out.print(
            f"lost: {lost['users']:,} users of {version},"
            f" who would have sent {lost['requests']:,} requests"
        )
    for text, count in summary["failures"].items():
        typer.echo(f"{count} x {text}", err=True)
    for text, count in feedback["failures"].items():
        typer.echo(f"{count} x feedback, {text}", err=True)


def _failures(replies: Sequence[HttpReply]) -> Counter[str]:
    return Counter(
        f"{reply.status or 'no answer'}: {reply.content.get('detail', '')}"
        for reply in replies
        if reply.status != 200
    )
