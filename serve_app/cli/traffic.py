"""`serve-app traffic`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table
from tqdm import tqdm

from models.errors import BadData
from serve_app.cli.options import AsJson, Url, console, print_json
from serve_app.client import Client, service_url
from serve_app.regions import country
from serve_app.traffic import Outcome, drawings, photographs, send

REGIONS = "AU,NZ,DE,FR,GB,US,BR,JP"

Requests = Annotated[int, typer.Option(min=1, max=1_000_000, help="How many in all.")]
Clients = Annotated[int, typer.Option(min=1, max=256, help="How many at once.")]
Users = Annotated[int, typer.Option(min=1, max=1_000_000, help="How many to draw from.")]
Regions = Annotated[str, typer.Option(help="Where users live, by ISO 3166-1 alpha-2.")]
Photos = Annotated[Path | None, typer.Option(help="A folder per class; without it, drawings.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed, the same users and pictures.")]


def traffic(
    requests: Requests = 500,
    clients: Clients = 8,
    users: Users = 200,
    regions: Regions = REGIONS,
    photos: Photos = None,
    seed: Seed = 1,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Send a bounded number of requests; exit 1 if one was not answered."""
    countries = [region.strip() for region in regions.split(",") if region.strip()]
    if not countries or any(country(region) is None for region in countries):
        raise typer.BadParameter(f"'{regions}': expected such as {REGIONS}", param_hint="--regions")
    target = url or service_url()
    with Client(target) as client:
        client.rule()
    pictures = photographs(photos) if photos else drawings(seed)
    if not pictures:
        raise BadData(f"{photos} holds no pictures")
    started = time.perf_counter()
    with tqdm(total=requests, unit="request", disable=not sys.stderr.isatty()) as bar:
        outcomes = asyncio.run(
            send(
                target,
                pictures,
                requests=requests,
                clients=clients,
                users=users,
                regions=countries,
                seed=seed,
                progress=bar.update,
            )
        )
    summary = _summary(outcomes, time.perf_counter() - started)
    if as_json:
        print_json(summary)
    else:
        _print(summary)
    if summary["failed"]:
        sys.exit(1)


def _summary(outcomes: list[Outcome], seconds: float) -> dict[str, Any]:
    answered = [outcome for outcome in outcomes if outcome.status == 200]
    latencies = [outcome.latency_ms for outcome in answered]
    failures = Counter(
        f"{outcome.status or 'no answer'}: {outcome.answer.get('detail', '')}"
        for outcome in outcomes
        if outcome.status != 200
    )
    groups: dict[tuple[str, str], list[Outcome]] = {}
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
    }


def _print(summary: dict[str, Any]) -> None:
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
    for text, count in summary["failures"].items():
        typer.echo(f"{count} x {text}", err=True)
