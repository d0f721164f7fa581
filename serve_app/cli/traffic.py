"""`serve-app traffic`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from models.errors import BadData
from serve_app.cli.options import AsJson, Url, print_json, warn
from serve_app.cli.summary import is_complete, print_summary, summarize
from serve_app.client import Client, service_url
from serve_app.regions import country
from serve_app.traffic.images import TrafficImage, photographs, synthetic_images
from serve_app.traffic.player import play, unsupported
from serve_app.traffic.scenario import (
    MAX_REQUESTS,
    MAX_USERS,
    Scenario,
    plain,
    read_scenario,
)

app = typer.Typer(add_completion=False)

REQUESTS, USERS, REGIONS = 500, 200, "AU,NZ,DE,FR,GB,US,BR,JP"  # without a scenario

File = Annotated[
    Path | None,
    typer.Option("--scenario", metavar="FILE", help="What the traffic does; - is standard input."),
]
Requests = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_REQUESTS,
        help=f"How many in all; else {REQUESTS}, or what the scenario says, whose users become more"
        " or fewer with its requests.",
    ),
]
Clients = Annotated[int, typer.Option(min=1, max=256, help="How many at once.")]
Users = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_USERS, help=f"How many to draw from; else {USERS}."),
]
Regions = Annotated[
    str | None,
    typer.Option(help=f"Where users live, by ISO 3166-1 alpha-2; else {REGIONS}."),
]
Images = Annotated[
    Path | None, typer.Option(help="A folder per class; without it, synthetic images.")
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed, the same users and images.")]


@app.command()
def traffic(
    scenario: File = None,
    requests: Requests = None,
    clients: Clients = 8,
    users: Users = None,
    regions: Regions = None,
    images: Images = None,
    seed: Seed = 1,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Send a bounded number of requests, and what users say of the answers.

    Exit 1 if one was not answered, or feedback was not kept.
    """
    if scenario and (users is not None or regions is not None):
        option = "--regions" if users is None else "--users"
        raise typer.BadParameter("the scenario says that", param_hint=option)
    played_regions = _countries(REGIONS if regions is None else regions)
    wanted = read_scenario(scenario) if scenario else None
    target = url or service_url()
    with Client(target) as client:
        client.rule()
    sample = photographs(images) if images else synthetic_images(seed)
    if not sample:
        raise BadData(f"{images} holds no images")
    if wanted is None:
        labels = [image.truth for image in sample]
        wanted = plain(requests or REQUESTS, users or USERS, played_regions, labels)
    elif requests:
        wanted = wanted.scaled(requests)
    warn(f"left out: {sentence}" for sentence in unsupported(wanted))
    summary = _play(target, wanted, sample, clients, seed)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
    if not is_complete(summary):
        sys.exit(1)


def _countries(regions: str) -> list[str]:
    """
    Raises:
        typer.BadParameter: One is none.
    """
    found = [country(region) for region in regions.split(",") if region.strip()]
    countries = [code for code in found if code is not None]
    if not countries or None in found:
        raise typer.BadParameter(f"'{regions}': expected such as {REGIONS}", param_hint="--regions")
    return countries


def _play(
    url: str, scenario: Scenario, images: list[TrafficImage], clients: int, seed: int
) -> dict[str, object]:
    started = time.perf_counter()
    with tqdm(total=scenario.requests, unit="request", disable=not sys.stderr.isatty()) as bar:
        played = asyncio.run(
            play(url, scenario, images, clients=clients, seed=seed, progress=bar.update)
        )
    seconds = time.perf_counter() - started
    return {
        "scenario": scenario.name,
        **summarize(played.outcomes, seconds, played.lost),
        "unsupported": unsupported(scenario),
    }
