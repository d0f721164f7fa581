"""`serve-app demo`: the strategies, one after the other, and what each showed."""

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

from serve_app.cli.options import Url, actor, console, tally
from serve_app.cli.summary import print_summary, summarize
from serve_app.cli.waiting import until_in_force
from serve_app.client import Client, service_url
from serve_app.home import open_home
from serve_app.regions import members
from serve_app.traffic.images import TrafficImage, synthetic_images
from serve_app.traffic.player import TrafficResult, play
from serve_app.traffic.scenario import plain

app = typer.Typer(add_completion=False)

REQUESTS = 300  # of an act; while an update lasts, as many as fit
A_ROUND = 50  # of them, during an update
CLIENTS = 8
USERS = 100
REGIONS = ("AU", "NZ", "FJ", "DE", "US", "JP")
TARGETED = "australia-pacific"
RECORDED_S = 5.0  # until the store has what was copied
POLL_S = 0.2
V1, V2 = "v1", "v2"


@dataclass
class Stage:
    """Where the acts are played.

    Attributes:
        copies: The shadow's tally when the story began.
        canary: Which version each user had when a canary was last shown.
    """

    client: Client
    url: str
    images: list[TrafficImage]
    copies: dict[str, int]
    canary: dict[str, str] = field(default_factory=dict)

    def ask(self, requests: int) -> list[TrafficResult]:
        """The outcomes of requests from `user-0` and the others."""
        labels = [image.truth for image in self.images]
        scenario = plain(requests, USERS, REGIONS, labels)
        played = asyncio.run(
            play(
                self.url,
                scenario,
                self.images,
                clients=CLIENTS,
                seed=1,
                progress=lambda: None,
            )
        )
        return played.outcomes

    def versions(self) -> dict[str, str]:
        """Which version answers each of these users."""
        image = self.images[0]
        return {
            user: self.client.classify(image.data, image.media_type, {"X-User-Id": user})["version"]
            for user in (f"user-{number}" for number in range(USERS))
        }


Show = Callable[[Stage, list[TrafficResult]], Iterator[str]]


@dataclass(frozen=True)
class Act:
    """A change, traffic, and what it showed.

    Attributes:
        change: A rule, or the version of a rolling update, which happens under the traffic.
        show: Sentences on the answers.
    """

    title: str
    change: dict[str, Any] | str
    show: Show


@app.command()
def demo(url: Url = None) -> None:
    """Play shadow, canary, A/B test and rolling update on the running service.

    It changes who answers, and ends with v1 for everybody; exit 1 if a request failed.
    """
    target = url or service_url()
    with Client(target, open_home().token) as client:
        copies = client.status()["recording"]["shadow"]
        stage = Stage(client, target, synthetic_images(seed=1), copies)
        failed = 0
        for number, act in enumerate(ACTS, 1):
            typer.secho(f"\n{number}. {act.title}", bold=True)
            failed += _play(stage, act)
    if failed:
        sys.exit(1)


def _play(stage: Stage, act: Act) -> int:
    """How many requests failed."""
    if isinstance(act.change, str):
        _apply_rule(stage, {"kind": "single", "stable": V1 if act.change == V2 else V2})
        started = time.perf_counter()
        outcomes = _during_update(stage, act.change)
    else:
        _apply_rule(stage, act.change)
        started = time.perf_counter()
        outcomes = stage.ask(REQUESTS)
    summary = summarize(outcomes, time.perf_counter() - started)
    print_summary(summary)
    typer.echo()
    for sentence in act.show(stage, outcomes):
        console().print(f"- {sentence}")
    failed: int = summary["failed"]
    return failed


def _apply_rule(stage: Stage, rule: dict[str, Any]) -> None:
    answer = stage.client.set_rule(rule, actor(), f"demo: {rule['kind']}")
    until_in_force(stage.client, answer["revision"])


def _during_update(stage: Stage, version: str) -> list[TrafficResult]:
    """The outcomes of requests before, during and after an update."""

    def update() -> None:
        why = f"demo: rolling update to {version}"
        revision = stage.client.update(version, "rolling", None, actor(), why)
        until_in_force(stage.client, revision)

    outcomes = stage.ask(A_ROUND)
    with ThreadPoolExecutor(1) as beside:
        updating = beside.submit(update)
        while not updating.done():
            outcomes += stage.ask(A_ROUND)
        updating.result()
    return outcomes + stage.ask(A_ROUND)


def _shadow(stage: Stage, outcomes: list[TrafficResult]) -> Iterator[str]:
    yield f"answered by {_by_version(outcomes)}; what {V2} said of the copies is stored"
    deadline = time.monotonic() + RECORDED_S
    while True:
        now = stage.client.status()["recording"]["shadow"]
        copies = {outcome: count - stage.copies[outcome] for outcome, count in now.items()}
        if sum(copies.values()) >= len(outcomes) or time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    yield "copies: " + ", ".join(f"{count:,} {outcome}" for outcome, count in copies.items())


def _canary(stage: Stage, outcomes: list[TrafficResult]) -> Iterator[str]:
    before, stage.canary = stage.canary, stage.versions()
    again = stage.versions()
    weight = stage.client.rule()["effective_weight"]
    chosen = {user for user, version in stage.canary.items() if version == V2}
    asked = sum(outcome.answer.get("version") == V2 for outcome in outcomes)
    yield (
        f"the weight is {weight:g}: {V2} answers {len(chosen)} of {USERS} users,"
        f" and answered {asked} of {len(outcomes):,} requests"
    )
    moved = sum(again[user] != version for user, version in stage.canary.items())
    yield f"asked once more, {moved} of them got the other version"
    if had := {user for user, version in before.items() if version == V2}:
        yield f"of the {len(had)} whom {V2} answered before, it answers {len(had & chosen)} still"


def _ab_test(_: Stage, outcomes: list[TrafficResult]) -> Iterator[str]:
    inside = members(TARGETED) or frozenset()
    for region in REGIONS:
        there = [outcome for outcome in outcomes if outcome.region == region]
        yield f"{region}{'' if region in inside else ', not targeted'}: {_by_version(there)}"


def _rolling(_: Stage, outcomes: list[TrafficResult]) -> Iterator[str]:
    failed = sum(outcome.status != 200 for outcome in outcomes)
    yield (
        f"while the replicas took the version, {failed} of {len(outcomes):,} requests failed;"
        f" answered by {_by_version(outcomes)}"
    )


def _by_version(outcomes: list[TrafficResult]) -> str:
    return tally(Counter(o.answer["version"] for o in outcomes if o.status == 200)) or "nobody"


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
    "regions": [TARGETED],
    "experiment": "demo-preference",
    "reveal_version": True,  # a blind one would show nothing here
}
ACTS = (
    Act(
        "Shadow: v1 answers everybody, v2 gets copies",
        {"kind": "shadow", "stable": V1, "candidate": V2, "reveal_version": True},
        _shadow,
    ),
    Act("Canary: a tenth of the users get v2", CANARY | {"weight": 0.1}, _canary),
    Act("Canary: it grows to three tenths", CANARY | {"weight": 0.3}, _canary),
    Act(f"A/B test: each request from {TARGETED} is drawn", AB_TEST, _ab_test),
    Act("Rolling update: v2 for everybody, under traffic", V2, _rolling),
    Act("Rolling update: back to v1", V1, _rolling),
)
