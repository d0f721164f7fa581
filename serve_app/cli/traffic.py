"""`serve-app traffic`: generates traffic for the running service."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from models.errors import BadData
from serve_app.cli.options import AsJson, Url, print_json, warn
from serve_app.cli.sending import send_traffic
from serve_app.cli.summary import INTERRUPTED, is_complete, print_summary, summarize
from serve_app.client import Client, service_url
from serve_app.durations import duration_ms
from serve_app.errors import BadConfig
from serve_app.regions import country
from serve_app.traffic.images import read_images, synthetic_images
from serve_app.traffic.pace import Pace
from serve_app.traffic.runner import unsupported_settings
from serve_app.traffic.scenario import (
    COVERAGE,
    MAX_REQUESTS,
    MAX_USERS,
    FeedbackHabits,
    plain_habits,
    read_scenario,
    uniform_scenario,
)

app = typer.Typer(add_completion=False)

REQUESTS, USERS, REGIONS = 500, 200, "AU,NZ,DE,FR,GB,US,BR,JP"  # defaults without a scenario
CLIENTS, MAX_CLIENTS = 8, 256
MAX_RATE_PER_S = 1000.0

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
        " are scaled along; no limit with --duration.",
    ),
]
Duration = Annotated[
    str | None, typer.Option(help="Send no more requests after this time, such as 30s or 5m.")
]
Rate = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=MAX_RATE_PER_S,
        help="Requests per second, sent when they are due, whether or not earlier ones have"
        " responses. Default: each client sends when it has its response.",
    ),
]
Clients = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_CLIENTS,
        help=f"Number of requests at the same time, at most. Default: {CLIENTS};"
        f" {MAX_CLIENTS} with --rate.",
    ),
]
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
Feedback = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="The share of the predictions on which users say whether they are right, and what"
        f" the image shows; 0 for none. Default: {COVERAGE}.",
    ),
]
Complain = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VERSION=SHARE",
        help="A planted effect: add this to the probability of a complaint about a version, such"
        " as v2=0.1.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same users and images.")]


@app.command()
def traffic(
    scenario: File = None,
    requests: Requests = None,
    duration: Duration = None,
    rate: Rate = None,
    clients: Clients = None,
    users: Users = None,
    regions: Regions = None,
    feedback: Feedback = None,
    complain: Complain = None,
    images: Images = None,
    seed: Seed = 1,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Send classify requests from generated users, and their feedback on the predictions.

    Exits 1 if a request failed or feedback was not accepted, 130 after Ctrl-C.
    """
    for option, value in (
        ("--users", users),
        ("--regions", regions),
        ("--feedback", feedback),
        ("--complain", complain),
    ):
        if scenario and value is not None:
            raise typer.BadParameter("the scenario sets it", param_hint=option)
    duration_s = _parse_duration(duration)
    countries = _parse_countries(REGIONS if regions is None else regions)
    habits = _feedback_habits(COVERAGE if feedback is None else feedback, complain or [])
    definition = read_scenario(scenario) if scenario else None
    target = url or service_url()
    with Client(target) as client:
        client.rule()  # fails early if no service is running
    sample = read_images(images) if images else synthetic_images(seed)
    if not sample:
        raise BadData(f"{images} has no images")
    if definition is None:
        labels = [image.true_label for image in sample]
        definition = uniform_scenario(
            requests or REQUESTS, users or USERS, countries, labels, habits
        )
    elif requests:
        definition = definition.scale(requests)
    if duration_s and not requests:
        most = min(math.ceil((rate or MAX_RATE_PER_S) * duration_s), MAX_REQUESTS)
        definition = definition.model_copy(update={"requests": most})
    warn(f"ignored: {sentence}" for sentence in unsupported_settings(definition))
    pace = Pace(clients or (CLIENTS if rate is None else MAX_CLIENTS), rate, duration_s)
    result = send_traffic(target, definition, sample, pace, seed)
    summary = {
        "scenario": definition.name,
        **summarize(result, rate),
        "unsupported": unsupported_settings(definition),
    }
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
    if result.interrupted:
        sys.exit(INTERRUPTED)
    if result.gave_up or not is_complete(summary):
        sys.exit(1)


def _parse_duration(text: str | None) -> float | None:
    """A duration in seconds.

    Raises:
        typer.BadParameter: It is not one.
    """
    try:
        return duration_ms(text) / 1000 if text is not None else None
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--duration") from exc


def _feedback_habits(coverage: float, complain: list[str]) -> FeedbackHabits | None:
    """
    Raises:
        typer.BadParameter: A planted effect is malformed.
    """
    if complain and not coverage:
        raise typer.BadParameter("users without feedback do not complain", param_hint="--complain")
    extra = {}
    for text in complain:
        version, _, share = text.partition("=")
        try:
            extra[version] = float(share)
        except ValueError:
            raise typer.BadParameter(
                f"'{text}': expected VERSION=SHARE, such as v2=0.1", param_hint="--complain"
            ) from None
    try:
        return plain_habits(coverage, extra)
    except BadConfig as exc:
        raise typer.BadParameter(str(exc), param_hint="--complain") from exc


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
