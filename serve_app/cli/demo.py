"""`serve-app demo`: each strategy on the running service, with traffic and results."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import typer

from serve_app.cli.changing import new_change
from serve_app.cli.options import Url, console, format_counts
from serve_app.cli.summary import print_summary, summarize
from serve_app.cli.waiting import wait_until_in_force
from serve_app.client import Client, service_url
from serve_app.control_plane.changes import SetRule, Update
from serve_app.home import open_home
from serve_app.regions import members
from serve_app.traffic.images import TrafficImage, synthetic_images
from serve_app.traffic.runner import TrafficResult, run_scenario
from serve_app.traffic.scenario import uniform_scenario

app = typer.Typer(add_completion=False)

REQUESTS = 300  # of a step that sets a rule
REQUESTS_PER_ROUND = 50  # during an update, which has as many rounds as fit
CLIENTS = 8
USERS = 100
REGIONS = ("AU", "NZ", "FJ", "DE", "US", "JP")
TARGET_GROUP = "australia-pacific"
RECORD_TIMEOUT_S = 5.0  # until the shadow's copies are in the store
POLL_S = 0.2
V1, V2 = "v1", "v2"


@dataclass
class DemoService:
    """The service that the demo runs on.

    Attributes:
        images: The images that the traffic sends.
        shadow_counts: The number of copies by outcome before the demo.
        canary_versions: The version of each user in the last canary step.
    """

    client: Client
    url: str
    images: list[TrafficImage]
    shadow_counts: dict[str, int]
    canary_versions: dict[str, str] = field(default_factory=dict)

    def send_requests(self, requests: int) -> list[TrafficResult]:
        """Send classify requests from the users of the demo."""
        labels = [image.true_label for image in self.images]
        scenario = uniform_scenario(requests, USERS, REGIONS, labels)
        result = asyncio.run(
            run_scenario(
                self.url,
                scenario,
                self.images,
                clients=CLIENTS,
                seed=1,
                progress=lambda: None,
            )
        )
        return result.results

    def user_versions(self) -> dict[str, str]:
        """Classify one image for each user; the version that served it, by user."""
        image = self.images[0]
        return {
            user: self.client.classify(image.data, image.media_type, {"X-User-Id": user})["version"]
            for user in (f"user-{number}" for number in range(USERS))
        }


Describe = Callable[[DemoService, list[TrafficResult]], Iterator[str]]


@dataclass(frozen=True)
class Step:
    """A change of the service, under traffic.

    Attributes:
        change: A rule, or the version of a rolling update.
        describe: Sentences on the results of the requests.
    """

    title: str
    change: dict[str, Any] | str
    describe: Describe


@app.command()
def demo(url: Url = None) -> None:
    """Run a shadow, a canary, an A/B test and a rolling update on the running service.

    The demo changes the rule of the service; at the end v1 serves all users. Exits 1 if a request
    failed.
    """
    target = url or service_url()
    with Client(target, open_home().token) as client:
        shadow_counts = client.status()["recording"]["shadow"]
        service = DemoService(client, target, synthetic_images(seed=1), shadow_counts)
        failed = 0
        for number, step in enumerate(STEPS, 1):
            typer.secho(f"\n{number}. {step.title}", bold=True)
            failed += _run_step(service, step)
    if failed:
        sys.exit(1)


def _run_step(service: DemoService, step: Step) -> int:
    """Run a step and print its results; the number of failed requests."""
    if isinstance(step.change, str):
        _apply_rule(service, {"kind": "single", "stable": V1 if step.change == V2 else V2})
        started = time.perf_counter()
        results = _send_during_update(service, step.change)
    else:
        _apply_rule(service, step.change)
        started = time.perf_counter()
        results = service.send_requests(REQUESTS)
    summary = summarize(results, time.perf_counter() - started)
    print_summary(summary)
    typer.echo()
    for sentence in step.describe(service, results):
        console().print(f"- {sentence}")
    failed: int = summary["failed"]
    return failed


def _apply_rule(service: DemoService, rule: dict[str, Any]) -> None:
    change = new_change(SetRule, f"demo: {rule['kind']}", rule=rule, change_stable=True)
    wait_until_in_force(service.client, service.client.apply(change)["revision"])


def _send_during_update(service: DemoService, version: str) -> list[TrafficResult]:
    """The results of requests before, during and after a rolling update."""

    def update() -> None:
        reason = f"demo: rolling update to {version}"
        change = new_change(Update, reason, version=version, method="rolling")
        wait_until_in_force(service.client, service.client.apply(change)["revision"])

    results = service.send_requests(REQUESTS_PER_ROUND)
    with ThreadPoolExecutor(1) as executor:
        pending = executor.submit(update)
        while not pending.done():
            results += service.send_requests(REQUESTS_PER_ROUND)
        pending.result()
    return results + service.send_requests(REQUESTS_PER_ROUND)


def _describe_shadow(service: DemoService, results: list[TrafficResult]) -> Iterator[str]:
    yield (
        f"served by {_count_versions(results)};"
        f" the predictions of {V2} for the copies are stored, not returned"
    )
    deadline = time.monotonic() + RECORD_TIMEOUT_S
    while True:
        now = service.client.status()["recording"]["shadow"]
        counts = {outcome: now[outcome] - service.shadow_counts[outcome] for outcome in now}
        if sum(counts.values()) >= len(results) or time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    yield "copies: " + ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())


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


CANARY = {
    "kind": "canary_parallel",
    "stable": V1,
    "candidate": V2,
    "experiment": "demo-canary",
}
AB_TEST = {
    "kind": "ab_test",
    "control": V1,
    "treatment": V2,
    "regions": [TARGET_GROUP],
    "experiment": "demo-preference",
    "reveal_version": True,  # so that the demo can count versions
}
STEPS = (
    Step(
        "Shadow: v1 serves all users, v2 gets copies of their images",
        {"kind": "shadow", "stable": V1, "candidate": V2, "reveal_version": True},
        _describe_shadow,
    ),
    Step("Canary: v2 serves 10 % of the users", CANARY | {"weight": 0.1}, _describe_canary),
    Step("Canary: v2 serves 30 % of the users", CANARY | {"weight": 0.3}, _describe_canary),
    Step(
        f"A/B test: each request from {TARGET_GROUP} is assigned at random",
        AB_TEST,
        _describe_ab_test,
    ),
    Step("Rolling update: v2 for all users, under traffic", V2, _describe_rolling),
    Step("Rolling update: back to v1", V1, _describe_rolling),
)
