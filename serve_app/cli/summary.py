"""Summaries of generated traffic, for `serve-app traffic` and `serve-app demo`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import typer

from serve_app.cli.options import console
from serve_app.cli.tables import Table
from serve_app.traffic.runner import ScenarioResult, TrafficResult
from serve_app.traffic.service_client import HttpResponse

LATE_MS = 50.0
INTERRUPTED = 130  # the exit code after Ctrl-C


def summarize(run: ScenarioResult, rate_per_s: float | None = None) -> dict[str, Any]:
    """Count requests, failures and feedback, and measure latency and accuracy by version.

    Args:
        rate_per_s: At which the requests were due, if they had a rate.
    """
    results, seconds, lost = run.results, run.seconds, run.lost
    served = [result for result in results if result.status == 200]
    latencies = [result.latency_ms for result in served]
    failures = _count_failures([HttpResponse(result.status, result.body) for result in results])
    feedback = [result.feedback for result in results if result.feedback]
    groups: dict[tuple[str, str], list[TrafficResult]] = {}
    for result in served:
        key = (result.body.get("version", "hidden"), result.body["reason"])
        groups.setdefault(key, []).append(result)
    return {
        "requests": len(results),
        "failed": sum(failures.values()),
        "seconds": round(seconds, 2),
        "per_second": round(len(results) / seconds, 1) if seconds else 0.0,
        "rate": _summarize_rate(results, rate_per_s) if rate_per_s else None,
        "unavailable_seconds": round(run.unavailable_s, 2),
        "interrupted": run.interrupted,
        "gave_up": run.gave_up,
        "cut_off": run.cut_off,
        "latency_ms": {
            f"p{q}": round(float(np.percentile(latencies, q)), 2) if latencies else None
            for q in (50, 95, 99)
        },
        "answers": [
            {
                "version": version,
                "reason": reason,
                "requests": len(group),
                "right": sum(result.body["label"] == result.true_label for result in group),
                "labels": dict(Counter(result.body["label"] for result in group)),
            }
            for (version, reason), group in sorted(groups.items())
        ],
        "failures": dict(failures.most_common(10)),
        "feedback": {
            "acknowledged": sum(response.status == 200 for response in feedback),
            "rejected": sum(400 <= response.status < 500 for response in feedback),
            "failed": sum(
                response.status != 200 and not 400 <= response.status < 500 for response in feedback
            ),
            "failures": dict(_count_failures(feedback).most_common(10)),
        },
        "lost": {version: asdict(users) for version, users in lost.items()},
    }


def _summarize_rate(results: Sequence[TrafficResult], rate_per_s: float) -> dict[str, Any]:
    late_ms = [result.late_ms for result in results]
    return {
        "per_second": rate_per_s,
        "late": sum(late > LATE_MS for late in late_ms),
        "late_ms": round(max(late_ms, default=0.0), 2),
    }


def is_complete(summary: dict[str, Any]) -> bool:
    """Whether all requests succeeded and all feedback was accepted."""
    feedback = summary["feedback"]
    return not (summary["failed"] or feedback["rejected"] or feedback["failed"])


def print_summary(summary: dict[str, Any]) -> None:
    """Print a summary as text and a table."""
    out = console()
    latency = {q: "-" if ms is None else f"{ms} ms" for q, ms in summary["latency_ms"].items()}
    out.print(
        f"{summary['requests']:,} requests in {summary['seconds']} s"
        f" ({summary['per_second']:,}/s), [bold]{summary['failed']:,} failed[/bold];"
        f" latency p50 {latency['p50']}, p95 {latency['p95']}, p99 {latency['p99']}\n"
    )
    for sentence in _run_sentences(summary):
        out.print(sentence)
    table = Table("version", "reason", "requests", "accuracy", "labels")
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
    feedback_counts = {key: feedback[key] for key in ("acknowledged", "rejected", "failed")}
    if any(feedback_counts.values()):
        counts = ", ".join(f"{count:,} {key}" for key, count in feedback_counts.items())
        out.print(f"\nfeedback: {counts}")
    for version, lost in summary["lost"].items():
        out.print(
            f"lost: {lost['users']:,} users of {version}"
            f" with {lost['requests']:,} requests that were not sent"
        )
    for text, count in summary["failures"].items():
        typer.echo(f"{count} x {text}", err=True)
    for text, count in feedback["failures"].items():
        typer.echo(f"{count} x feedback, {text}", err=True)


def _run_sentences(summary: dict[str, Any]) -> Iterator[str]:
    """How the run went, where it was not as planned."""
    if rate := summary["rate"]:
        late = f", {rate['late']:,} sent more than {LATE_MS:g} ms late" if rate["late"] else ""
        yield (
            f"due at {rate['per_second']:g}/s{late}: at most {rate['late_ms']:g} ms late, which"
            " their latency includes\n"
        )
    if summary["unavailable_seconds"]:
        seconds = f"{summary['unavailable_seconds']:g} s"
        yield f"the service was unavailable for {seconds}: fewer requests were sent\n"
    if summary["gave_up"]:
        yield "[bold]stopped: the service did not come back[/bold]\n"
    if summary["interrupted"]:
        cut_off = f"; {summary['cut_off']:,} were cut off" if summary["cut_off"] else ""
        yield f"[bold]interrupted[/bold]: this is what was sent{cut_off}\n"


def _count_failures(responses: Sequence[HttpResponse]) -> Counter[str]:
    return Counter(
        f"{response.status or 'no response'}: {response.body.get('detail', '')}"
        for response in responses
        if response.status != 200
    )
