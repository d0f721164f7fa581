"""`serve-app scenario`: lists the scenarios, and plays one from its rule to the verdict."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli import temporary_changes
from serve_app.cli.changing import Yes
from serve_app.cli.options import AsJson, Url, console, print_json, say, warn
from serve_app.cli.sending import format_clock, send_traffic
from serve_app.cli.summary import INTERRUPTED, print_summary, summarize
from serve_app.cli.tables import Table
from serve_app.cli.temporary_changes import (
    restoring,
    settle_s,
    wait_until_settled,
    with_new_experiment,
)
from serve_app.client import Client, service_url
from serve_app.errors import BadConfig, ServeAppError
from serve_app.home import open_home
from serve_app.rules.parse import read_rule
from serve_app.traffic.images import synthetic_images
from serve_app.traffic.pace import Pace
from serve_app.traffic.runner import unsupported_settings
from serve_app.traffic.scenario import MAX_REQUESTS, Scenario, read_scenario

app = typer.Typer(
    name="scenario",
    add_completion=False,
    no_args_is_help=True,
    help="List and play scenarios: traffic with an effect that a report should find.",
)

FOLDER = Path(__file__).parents[2] / "docs" / "scenarios"
CLIENTS = 8
TYPICAL_PER_S = 100.0  # requests of `CLIENTS` clients on two cores

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A name from scenario list, or a scenario file.")
]
Requests = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_REQUESTS,
        help="Number of requests; the users are scaled along. Default: as in the scenario. Fewer"
        " may not suffice for a verdict.",
    ),
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Leave its rule in force, and its test versions.")
]


@app.command("list")
def list_scenarios(as_json: AsJson = False) -> None:
    """List the scenarios, with the requests and the time that their reports need."""
    scenarios = [read_scenario(path) for path in _shipped()]
    if as_json:
        print_json(
            [
                {
                    "name": scenario.name,
                    "about": scenario.about,
                    "requests": scenario.requests,
                    "typical_seconds": round(_typical_s(scenario)),
                }
                for scenario in scenarios
            ]
        )
        return
    table = Table("scenario", "requests", "minutes", "what happens")
    for scenario in scenarios:
        minutes = f"{_typical_s(scenario) / 60:.0f}"
        table.add_row(scenario.name, f"{scenario.requests:,}", minutes, scenario.about)
    console().print(table)
    say(f"Minutes: about, at {TYPICAL_PER_S:g} requests a second, as on two cores.")


@app.command()
def play(
    name: Name,
    requests: Requests = None,
    keep: Keep = False,
    yes: Yes = False,
    url: Url = None,
) -> None:
    """Set the rule of a scenario, send its traffic, and print the report with its verdict.

    The experiment gets a new name. At the end, the previous revision is restored, also after
    Ctrl-C, and test versions are removed.
    """
    scenario = read_scenario(_find(name))
    content = scenario.rule
    if content is None:
        raise BadConfig("rule", f"is missing: {name} has no rule to play; use serve-app traffic")
    scenario = scenario.scale(requests) if requests else scenario
    target = url or service_url()
    rule = with_new_experiment(content, time.time())
    say(f"{scenario.name}: {scenario.about}")
    warn(f"ignored: {sentence}" for sentence in unsupported_settings(scenario))
    with Client(target, open_home().token) as client, restoring(client, keep=keep) as changes:
        for version, copy in scenario.test_versions.items():
            changes.add_test_version(copy.of, version, copy.faults)
        changes.ask(rule, yes=yes)
        changes.set_rule(rule, f"scenario {scenario.name}")
        say(f"Set the rule {rule['kind']} with the experiment {rule['experiment']}")
        say(f"Sending {scenario.requests:,} requests, {format_clock(_typical_s(scenario))} in all")
        run = send_traffic(target, scenario, synthetic_images(1), Pace(CLIENTS), seed=1)
        print_summary(summarize(run))
        if run.interrupted:
            sys.exit(INTERRUPTED)
        wait_until_settled(rule)
        report = temporary_changes.show_report(changes, rule)
        say(f"\nVerdict: {report['finding']}. {report['sentence']}")
        if run.gave_up:
            sys.exit(1)


def _find(name: str) -> Path:
    """The file of a scenario.

    Raises:
        typer.BadParameter: There is none of the name.
        ServeAppError: There are none at all.
    """
    shipped, file = FOLDER / f"{name}.yaml", Path(name)
    if shipped.is_file():
        return shipped
    if file.is_file():
        return file
    known = ", ".join(path.stem for path in _shipped())
    raise typer.BadParameter(
        f"'{name}' is no file, and no scenario: {FOLDER} has {known}", param_hint="NAME"
    )


def _shipped() -> list[Path]:
    """The scenario files of the source.

    Raises:
        ServeAppError: There are none.
    """
    files = sorted(FOLDER.glob("*.yaml"))
    if not files:
        raise ServeAppError(
            "this installation has no scenario files: they are in docs/scenarios of the source of"
            " serve-app; copy one, and run serve-app scenario play FILE"
        )
    return files


def _typical_s(scenario: Scenario) -> float:
    settle = settle_s(read_rule(scenario.rule)) if scenario.rule else 0.0
    return scenario.requests / TYPICAL_PER_S + settle
