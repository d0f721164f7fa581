"""`serve-app traffic`: generates traffic for the running service."""

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
from serve_app.traffic.images import TrafficImage, read_images, synthetic_images
from serve_app.traffic.runner import run_scenario, unsupported_settings
from serve_app.traffic.scenario import (
    MAX_REQUESTS,
    MAX_USERS,
    Scenario,
    read_scenario,
    uniform_scenario,
)

app = typer.Typer(add_completion=False)

REQUESTS, USERS, REGIONS = 500, 200, "AU,NZ,DE,FR,GB,US,BR,JP"  # defaults without a scenario

File = Annotated[
    Path | None,
    typer.Option("--scenario", metavar="FILE", help="A scenario file; - reads standard input."),
]
Requests = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_REQUESTS,
        help=f"Number of requests. Default: {REQUESTS}, or as in the scenario, whose users"
        " are scaled along.",
    ),
]
Clients = Annotated[int, typer.Option(min=1, max=256, help="Number of concurrent clients.")]
Users = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_USERS, help=f"Number of users. Default: {USERS}."),
]
Regions = Annotated[
    str | None,
    typer.Option(help=f"Countries of the users, ISO 3166-1 alpha-2. Default: {REGIONS}."),
]
Images = Annotated[
    Path | None,
    typer.Option(help="A folder with one subfolder per class. Default: synthetic images."),
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same users and images.")]


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
    """Send classify requests and feedback from generated users.

    Exits 1 if a request failed or feedback was not accepted.
    """
    if scenario and (users is not None or regions is not None):
        option = "--regions" if users is None else "--users"
        raise typer.BadParameter("the scenario sets it", param_hint=option)
    countries = _parse_countries(REGIONS if regions is None else regions)
    definition = read_scenario(scenario) if scenario else None
    target = url or service_url()
    with Client(target) as client:
        client.rule()  # fails early if no service is running
    sample = read_images(images) if images else synthetic_images(seed)
    if not sample:
        raise BadData(f"{images} has no images")
    if definition is None:
        labels = [image.true_label for image in sample]
        definition = uniform_scenario(requests or REQUESTS, users or USERS, countries, labels)
    elif requests:
        definition = definition.scale(requests)
    warn(f"ignored: {sentence}" for sentence in unsupported_settings(definition))
    summary = _run(target, definition, sample, clients, seed)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
    if not is_complete(summary):
        sys.exit(1)


def _parse_countries(regions: str) -> list[str]:
    """
    Raises:
        typer.BadParameter: One is not a country code.
    """
    found = [country(region) for region in regions.split(",") if region.strip()]
    countries = [code for code in found if code is not None]
    if not countries or None in found:
        raise typer.BadParameter(
            f"'{regions}': expected country codes such as {REGIONS}", param_hint="--regions"
        )
    return countries


def _run(
    url: str, scenario: Scenario, images: list[TrafficImage], clients: int, seed: int
) -> dict[str, object]:
    started = time.perf_counter()
    with tqdm(total=scenario.requests, unit="request", disable=not sys.stderr.isatty()) as bar:
        result = asyncio.run(
            run_scenario(url, scenario, images, clients=clients, seed=seed, progress=bar.update)
        )
    seconds = time.perf_counter() - started
    return {
        "scenario": scenario.name,
        **summarize(result.results, seconds, result.lost),
        "unsupported": unsupported_settings(scenario),
    }
