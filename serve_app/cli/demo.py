"""`serve-app demo`: each strategy on the running service, with traffic, a report and a verdict."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import typer
import yaml

from models.card import Faults
from serve_app.cli.changing import Yes
from serve_app.cli.options import Url, console, format_counts, note, say
from serve_app.cli.report import text
from serve_app.cli.sending import send_traffic
from serve_app.cli.summary import INTERRUPTED, print_summary, summarize
from serve_app.cli.temporary_changes import (
    TemporaryChanges,
    restoring,
    wait_until_settled,
    with_new_experiment,
)
from serve_app.client import Client, service_url
from serve_app.errors import NotRunning
from serve_app.home import open_home
from serve_app.regions import members
from serve_app.rules.registry import KINDS
from serve_app.traffic.availability import GIVE_UP_S
from serve_app.traffic.images import TrafficImage, synthetic_images
from serve_app.traffic.pace import Pace
from serve_app.traffic.runner import ScenarioResult, TrafficResult
from serve_app.traffic.scenario import plain_habits, uniform_scenario

app = typer.Typer(add_completion=False)

REQUESTS = 300  # of a short act
REQUESTS_PER_ROUND = 50  # during an update, which has as many rounds as fit
CLIENTS = 8
USERS = 100  # of a short act
REGIONS = ("AU", "NZ", "FJ", "DE", "US", "JP")
TARGET_GROUP = "australia-pacific"
COVERAGE = 0.8  # of the predictions with feedback: in a short time, users must tell often
SETTLE = "5s"
V1, V2, FAULTY = "v1", "v2", "v103"
FAULTS = Faults(slow_ms=200, fail=0.1)


@dataclass
class DemoService:
    """The service that the demo runs on.

    Attributes:
        images: The images that the traffic sends.
        canary_versions: The version of each user in the last act of the canary.
    """

    client: Client
    url: str
    changes: TemporaryChanges
    images: list[TrafficImage]
    canary_versions: dict[str, str] = field(default_factory=dict)

    def send_requests(self, requests: int, users: int) -> ScenarioResult:
        """Send classify requests and feedback; Ctrl-C ends the demo.

        Raises:
            SystemExit: The user pressed Ctrl-C.
            NotRunning: The service did not come back.
        """
        labels = [image.true_label for image in self.images]
        scenario = uniform_scenario(requests, users, REGIONS, labels, plain_habits(COVERAGE))
        run = send_traffic(self.url, scenario, self.images, Pace(CLIENTS), seed=1)
        if run.interrupted:
            sys.exit(INTERRUPTED)
        if run.gave_up:
            raise NotRunning(
                f"the service did not come back within {GIVE_UP_S:g} s: the demo ends here; see"
                " serve-app status"
            )
        return run

    def user_versions(self) -> dict[str, str]:
        """Classify one image for each user; the version that served it, by user."""
        image = self.images[0]
        return {
            user: self.client.classify(image.data, image.media_type, {"X-User-Id": user})["version"]
            for user in (f"user-{number}" for number in range(USERS))
        }


Describe = Callable[[DemoService, list[TrafficResult]], Iterator[str]]


@dataclass(frozen=True)
class Act:
    """A change of the service, under traffic.

    Attributes:
        why: What to look at, and why it is so.
        change: A rule, or the version of a rolling update.
        describe: Sentences on the results of the requests.
    """

    title: str
    why: str
    change: dict[str, Any] | str
    describe: Describe
    requests: int = REQUESTS
    users: int = USERS


@app.command()
def demo(yes: Yes = False, url: Url = None) -> None:
    """Run a shadow, canaries, an A/B test and a rolling update on the running service.

    It takes under three minutes. Each act shows its command, a report and a verdict. At the end,
    the previous revision is restored, also after Ctrl-C. Exits 1 if a request failed.
    """
    target, started_s = url or service_url(), time.time()
    with Client(target, open_home().token) as client, restoring(client) as changes:
        changes.ask(SHADOW, yes=yes)
        changes.add_test_version(V2, FAULTY, FAULTS)
        service = DemoService(client, target, changes, synthetic_images(seed=1))
        failed = 0
        for number, act in enumerate(ACTS, 1):
            typer.secho(f"\n{number}. {act.title}", bold=True)
            failed += _run_act(service, act, started_s)
        typer.echo()
    say(f"The demo took {time.time() - started_s:.0f} s.")
    if failed:
        sys.exit(1)


def _run_act(service: DemoService, act: Act, started_s: float) -> int:
    """Run an act and print its results; the number of failed requests."""
    say(act.why)
    if isinstance(act.change, str):
        _print_commands(f"serve-app update {act.change} --method rolling")
        run = _send_during_update(service, act.change)
    else:
        rule = with_new_experiment(act.change, started_s)
        report = KINDS[rule["kind"]].report
        _print_commands(
            f"serve-app rule set - <<< 'rule: {_one_line(rule)}'",
            f"serve-app traffic --requests {act.requests} --users {act.users}"
            f" --regions {','.join(REGIONS)} --feedback {COVERAGE:g}",
            f"serve-app report {report}",
        )
        service.changes.set_rule(rule, f"demo: {rule['kind']}")
        run = service.send_requests(act.requests, act.users)
    summary = summarize(run)
    print_summary(summary)
    typer.echo()
    for sentence in act.describe(service, run.results):
        say(f"- {sentence}")
    if isinstance(act.change, dict):
        wait_until_settled(rule)
        _print_report(service.changes.report(report, rule["experiment"]))
    failed: int = summary["failed"]
    return failed


def _print_commands(*commands: str) -> None:
    typer.echo()
    for command in commands:
        typer.secho(f"  $ {command}", dim=True)
    typer.echo()


def _one_line(rule: dict[str, Any]) -> str:
    flow: str = yaml.safe_dump(rule, default_flow_style=True, sort_keys=False, width=10_000)
    return flow.strip()


def _print_report(report: dict[str, Any]) -> None:
    """The verdict of a report, and the figures that decide it."""
    out = console()
    typer.echo()
    if "measures" in report:
        out.print(text.comparison_table(report, [(m["measure"], m) for m in report["measures"]]))
    elif "overall" in report:
        overall = report["overall"]
        out.print(text.comparison_table(report, [(overall["measure"], overall)], overall["unit"]))
    else:
        new = ", ".join(report["labels"]["new"])
        say(f"same label in both versions: {text.rate(report['agreement'])}")
        say(f"candidate predicts {new}: {text.rate(report['new_labels']['rate'])}")
    out.print("Verdict:", end=" ")
    text.print_verdict(out, report)


def _send_during_update(service: DemoService, version: str) -> ScenarioResult:
    """The results of requests before, during and after a rolling update."""
    started_s = time.perf_counter()
    results = service.send_requests(REQUESTS_PER_ROUND, USERS).results
    with ThreadPoolExecutor(1) as executor:
        reason = f"demo: rolling update to {version}"
        pending = executor.submit(service.changes.update, version, reason)
        try:
            while not pending.done():
                results += service.send_requests(REQUESTS_PER_ROUND, USERS).results
        except (KeyboardInterrupt, SystemExit):
            if not pending.done():
                note("Interrupted: the change in progress is finished first")
            raise
        pending.result()
    results += service.send_requests(REQUESTS_PER_ROUND, USERS).results
    return ScenarioResult(results, {}, time.perf_counter() - started_s)


def _describe_shadow(_: DemoService, results: list[TrafficResult]) -> Iterator[str]:
    yield (
        f"served by {_count_versions(results)};"
        f" the predictions of {V2} for the copies are stored, not returned"
    )


def _describe_failing_canary(_: DemoService, results: list[TrafficResult]) -> Iterator[str]:
    fallbacks = sum(result.body.get("reason") == "fallback" for result in results)
    yield f"{V1} served {fallbacks} requests that {FAULTY} failed: no user saw an error"


def _describe_canary(service: DemoService, results: list[TrafficResult]) -> Iterator[str]:
    previous, service.canary_versions = service.canary_versions, service.user_versions()
    repeated = service.user_versions()
    weight = service.client.rule()["effective_weight"]
    canary_users = {user for user, version in service.canary_versions.items() if version == V2}
    served = sum(result.body.get("version") == V2 for result in results)
    yield (
        f"weight {weight:g}: {V2} serves {len(canary_users)} of {USERS} users,"
        f" and served {served} of {len(results):,} requests"
    )
    moved = sum(repeated[user] != version for user, version in service.canary_versions.items())
    yield f"{moved} users changed version when all of them sent another request"
    if before := {user for user, version in previous.items() if version == V2}:
        yield (
            f"{len(before & canary_users)} of the {len(before)} users of {V2} at the previous"
            " weight are still on it"
        )


def _describe_ab_test(_: DemoService, results: list[TrafficResult]) -> Iterator[str]:
    targeted = members(TARGET_GROUP) or frozenset()
    for region in REGIONS:
        from_region = [result for result in results if result.region == region]
        note = "" if region in targeted else ", not targeted"
        yield f"{region}{note}: {_count_versions(from_region)}"


def _describe_rolling(_: DemoService, results: list[TrafficResult]) -> Iterator[str]:
    failed = sum(result.status != 200 for result in results)
    yield (
        f"during the update, {failed} of {len(results):,} requests failed;"
        f" served by {_count_versions(results)}"
    )


def _count_versions(results: list[TrafficResult]) -> str:
    counts = Counter(result.body["version"] for result in results if result.status == 200)
    return format_counts(counts) or "no version"


SHADOW = {
    "kind": "shadow",
    "stable": V1,
    "candidate": V2,
    "experiment": "demo-shadow",
    "reveal_version": True,
}
CANARY = {
    "kind": "canary_parallel",
    "stable": V1,
    "candidate": V2,
    "experiment": "demo-canary",
    "settle": SETTLE,
}
FAILING_CANARY = CANARY | {"candidate": FAULTY, "experiment": "demo-failing", "weight": 0.5}
AB_TEST = {
    "kind": "ab_test",
    "control": V1,
    "treatment": V2,
    "regions": [TARGET_GROUP],
    "experiment": "demo-preference",
    "unit": "user",
    "settle": SETTLE,
    "reveal_version": True,  # so that the demo can count versions
    "outcome": {"min_effect": 0.05, "window": SETTLE},  # a smaller one takes more users
}
ACTS = (
    Act(
        "Shadow: v1 serves all users, v2 gets copies of their images",
        f"{V1} is right in two of three answers: a third of the images show koalas, a label that it"
        f" does not know. {V2} does, and the copies show it before any user gets it.",
        SHADOW,
        _describe_shadow,
    ),
    Act(
        "Canary that fails: a version with faults serves half of the users",
        f"{FAULTY} is a copy of {V2} that is {FAULTS.slow_ms:g} ms slower and fails in"
        f" {100 * FAULTS.fail:g} % of its calls. {V1} serves these, and the report says worse.",
        FAILING_CANARY,
        _describe_failing_canary,
        requests=1000,
        users=400,
    ),
    Act(
        "Canary: v2 serves 10 % of the users",
        "The same users keep the candidate. A few users are not enough for a verdict.",
        CANARY | {"weight": 0.1},
        _describe_canary,
    ),
    Act(
        "Canary: v2 serves 30 % of the users",
        "A larger weight moves no user back. Users that it moves to the candidate are not compared:"
        " they had both versions.",
        CANARY | {"weight": 0.3},
        _describe_canary,
    ),
    Act(
        f"A/B test: half of the users from {TARGET_GROUP} get v2",
        f"Users complain of wrong labels. {V1} is wrong on each koala, so they prefer {V2}.",
        AB_TEST,
        _describe_ab_test,
        requests=2500,
        users=1800,
    ),
    Act(
        "Rolling update: v2 for all users, under traffic",
        "Replicas change one by one, so no request fails.",
        V2,
        _describe_rolling,
    ),
)
