"""The commands `serve-app report`: traffic, canary, A/B test and shadow."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated

import typer

from serve_app.cli.options import AsJson, Url, console, print_json
from serve_app.cli.progress import clock
from serve_app.cli.report import ab_test, canary, explain, shadow, traffic
from serve_app.client import Client, service_url
from serve_app.home import open_home

app = typer.Typer(
    name="report",
    add_completion=False,
    no_args_is_help=True,
    help="Reports on traffic, canaries, A/B tests and shadows.",
)

Since = Annotated[
    str,
    typer.Option(help="Start of the period: such as 30m, 24h, 7d before now; or an ISO 8601 time."),
]
SinceOrAll = Annotated[
    str | None,
    typer.Option(
        "--since",
        help="Start of the period: such as 30m, 24h, 7d before now; or an ISO 8601 time."
        " Default: all data.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", help="End of the period, as --since. Default: now."),
]
Region = Annotated[
    str | None, typer.Option("--region", help="A country, or a group such as australia-pacific.")
]
Experiment = Annotated[
    str | None,
    typer.Option(help="A name from experiment list. Default: the newest of this kind."),
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Say what each line means, after the report.")
]
WEEK = "7d"


@app.command("traffic")
def report_traffic(
    since: Since = WEEK,
    until: Until = None,
    region: Region = None,
    explained: Explain = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Exposures by rule, version and reason, planned and actual shares, and SRM checks."""
    period = {"since": since, "until": until, "region": region}
    _report("traffic", traffic, url, as_json, explained, **period)


def _add_experiment_report(name: str, module: ModuleType, about: str) -> None:
    @app.command(name, help=about)
    def report_experiment(
        since: SinceOrAll = None,
        until: Until = None,
        region: Region = None,
        experiment: Experiment = None,
        explained: Explain = False,
        url: Url = None,
        as_json: AsJson = False,
    ) -> None:
        period = {"since": since, "until": until, "region": region}
        _report(name, module, url, as_json, explained, experiment=experiment, **period)


for _name, _module, _about in (
    (
        "canary",
        canary,
        "Does the candidate work? Failures, latency and labels, compared with stable.",
    ),
    (
        "ab",
        ab_test,
        "Which version do users prefer? Verdict by the feedback of the assigned units.",
    ),
    (
        "shadow",
        shadow,
        "What would the candidate predict? Its copies of live traffic, compared with stable.",
    ),
):
    _add_experiment_report(_name, _module, _about)


def _report(
    name: str,
    module: ModuleType,
    url: str | None,
    as_json: bool,
    explained: bool,
    **options: str | None,
) -> None:
    """Print a report.

    Args:
        module: With `show`, which prints it, and `EXPLAIN`, which says what its lines mean.
    """
    params = {name: value for name, value in options.items() if value is not None}
    with Client(url or service_url(), open_home().token) as client, clock(f"reading report {name}"):
        report = client.report(name, params)
    if as_json:
        print_json(report)
        return
    out = console()
    module.show(out, report)
    if explained:
        explain.show(out, module.EXPLAIN)
