"""`serve-app report`: what happened, how the versions differ, which one is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console

from serve_app.cli.options import AsJson, Url, console, print_json
from serve_app.cli.report import ab_test, canary, shadow, traffic
from serve_app.client import Client, service_url
from serve_app.home import open_home

app = typer.Typer(
    name="report",
    add_completion=False,
    no_args_is_help=True,
    help="What happened, and which version is better.",
)

Since = Annotated[
    str, typer.Option(help="From when: such as 30m, 24h, 7d before now, or an ISO 8601 time.")
]
SinceOrAll = Annotated[
    str | None, typer.Option("--since", help="Likewise; without it, from the beginning on.")
]
Where = Annotated[
    str | None, typer.Option("--region", help="A country, or a group such as australia-pacific.")
]
Experiment = Annotated[
    str | None, typer.Option(help="Its name in the rule; else the newest of its kind.")
]
WEEK = "7d"


@app.command("traffic")
def report_traffic(
    since: Since = WEEK, region: Where = None, url: Url = None, as_json: AsJson = False
) -> None:
    """Who was answered by what: planned and actual shares, checked for SRM."""
    _report("traffic", traffic.show, url, as_json, since=since, region=region)


@app.command("canary")
def report_canary(
    since: SinceOrAll = None,
    region: Where = None,
    experiment: Experiment = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Does the candidate work? Errors, latency, classes, beside stable on the same days."""
    _report("canary", canary.show, url, as_json, since=since, region=region, experiment=experiment)


@app.command("ab")
def report_ab(
    since: SinceOrAll = None,
    region: Where = None,
    experiment: Experiment = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Which version do users prefer? By what the assigned units said."""
    _report("ab", ab_test.show, url, as_json, since=since, region=region, experiment=experiment)


@app.command("shadow")
def report_shadow(
    since: SinceOrAll = None, region: Where = None, url: Url = None, as_json: AsJson = False
) -> None:
    """What would the candidate do with the traffic of now? Its copies, beside stable's answers."""
    _report("shadow", shadow.show, url, as_json, since=since, region=region)


def _report(
    name: str,
    show: Callable[[Console, dict[str, Any]], None],
    url: str | None,
    as_json: bool,
    **question: str | None,
) -> None:
    with Client(url or service_url(), open_home().token) as client:
        report = client.report(name, {k: v for k, v in question.items() if v is not None})
    if as_json:
        print_json(report)
    else:
        show(console(), report)
