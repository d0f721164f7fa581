"""Sends the requests and the feedback of a scenario to a running service."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from serve_app.errors import BadConfig
from serve_app.traffic.availability import Availability
from serve_app.traffic.images import TrafficImage
from serve_app.traffic.pace import Pace, send_all
from serve_app.traffic.population import Population, draw_feedback, draw_population, is_lost
from serve_app.traffic.scenario import Scenario
from serve_app.traffic.service_client import HttpResponse, ServiceClient

TIMEOUT_S = 30.0
GRACE_S = 2.0  # of requests that are on their way at an interrupt
_RULE_MISMATCH = "does not fit the rule in force, {kind}, which does not assign versions by user"


@dataclass(frozen=True, slots=True)
class TrafficResult:
    """The result of one classify request.

    Attributes:
        status, body: See `HttpResponse`.
        latency_ms: From when the request was due to the response.
        late_ms: Of it, the time before the request was sent; 0 unless requests have a rate.
        region: The country of the user.
        feedback: The response to the user's feedback; None if the user sent none.
    """

    status: int
    latency_ms: float
    true_label: str
    region: str
    body: dict[str, Any]
    feedback: HttpResponse | None = None
    late_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class LostUsers:
    """The number of lost users, and of the requests that they would have sent."""

    users: int
    requests: int


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """The results of a scenario.

    Attributes:
        results: One for each request that was sent.
        lost: The lost users whose turn came, by the version that they were assigned.
        seconds: The duration of the traffic.
        unavailable_s: The time of it that the service was unavailable.
        cut_off: The number of requests whose response an interrupt did not wait for.
        interrupted: Whether the user ended it, with Ctrl-C.
        gave_up: Whether it ended because the service did not come back.
    """

    results: list[TrafficResult]
    lost: dict[str, LostUsers]
    seconds: float
    unavailable_s: float = 0.0
    cut_off: int = 0
    interrupted: bool = False
    gave_up: bool = False


# Called after each request of the scenario; without a result for those of lost users.
ProgressCallback = Callable[[TrafficResult | None], object]


async def run_scenario(
    url: str,
    scenario: Scenario,
    images: Sequence[TrafficImage],
    *,
    pace: Pace,
    seed: int,
    progress: ProgressCallback,
) -> ScenarioResult:
    """Send the requests of a scenario; Ctrl-C ends it early, with the results so far.

    The day of the scenario passes as fast as requests are sent. Feedback follows the prediction at
    once. If the scenario depends on the assigned versions and predictions do not reveal them,
    `GET /v1/explain` is sent for each user first. While the service is unavailable, see
    `Availability`.

    Args:
        seed: The same seed gives the same users, images and feedback.

    Raises:
        BadConfig: There are no images of a label, or the scenario does not fit the rule in force.
        NotRunning, Rejected: The rule or an assignment cannot be read from the service.
    """
    population = draw_population(scenario, seed)
    images_by_label = _group_by_label(scenario, images)
    # aiohttp, because httpx's connection pool gets slow with many connections.
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=pace.clients),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    ) as http:
        service = ServiceClient(http, url.rstrip("/"))
        versions = await _assigned_versions(service, scenario, population, pace.clients)
        lost = {
            user: version
            for user, version in versions.items()
            if is_lost(scenario, population, user, version)
        }
        stop = asyncio.Event()
        availability = Availability(stop)
        results: list[TrafficResult] = []
        turns: list[int] = []  # the user of each request whose turn came
        sender = _Sender(service, availability, scenario, population, images_by_label, versions)

        async def send(number: int, late_s: float) -> None:
            user = int(population.user[number])
            turns.append(user)
            if user in lost:
                progress(None)
                return
            results.append(await sender.send(number, late_s))
            progress(results[-1])

        work = send_all(send, scenario.requests, pace, availability, stop)
        started = time.perf_counter()
        interrupted = await _run_until_stopped(work, stop, pace.duration_s)
        seconds = time.perf_counter() - started
    found_lost = _count_lost(lost, turns)
    return ScenarioResult(
        results,
        found_lost,
        seconds,
        availability.unavailable_s,
        len(turns) - len(results) - sum(users.requests for users in found_lost.values()),
        interrupted,
        availability.gave_up,
    )


async def _run_until_stopped(
    work: Coroutine[Any, Any, None], stop: asyncio.Event, duration_s: float | None
) -> bool:
    """Run until the work is done; stop it after `duration_s` or on Ctrl-C, which returns true.

    After Ctrl-C, requests on their way have `GRACE_S`, or until Ctrl-C is pressed again.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    timer = loop.call_later(duration_s, stop.set) if duration_s else None
    interrupts = 0

    def interrupt() -> None:
        nonlocal interrupts
        interrupts += 1
        stop.set()
        loop.call_later(GRACE_S if interrupts == 1 else 0, task.cancel)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        if not interrupts:  # cancelled from outside
            raise
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        if timer:
            timer.cancel()
    return bool(interrupts)


def unsupported_settings(scenario: Scenario) -> list[str]:
    """The settings of a scenario that an HTTP client cannot apply, one sentence each."""
    if any(part.hours is not None for part in scenario.photographs):
        return ["photographs.hours: requests are not spread over the hours of a real day"]
    return []


@dataclass(frozen=True, slots=True)
class _Sender:
    """Sends the requests of a population.

    Attributes:
        versions: The assigned version of each user, if the scenario needs it.
    """

    service: ServiceClient
    availability: Availability
    scenario: Scenario
    population: Population
    images_by_label: Mapping[str, Sequence[TrafficImage]]
    versions: Mapping[int, str]

    async def send(self, number: int, late_s: float) -> TrafficResult:
        """Send one classify request, and the user's feedback on the prediction, if any."""
        population = self.population
        true_label = population.labels[population.true_label[number]]
        images = self.images_by_label[true_label]
        image = images[int(population.image_draw[number] * len(images))]
        user = int(population.user[number])
        headers = _user_headers(population, user) | {
            "X-Session-Id": f"user-{user}-{population.hour[number]}"
        }
        started = time.perf_counter()
        response = await self.service.classify(image, headers)
        latency_ms = 1000 * (late_s + time.perf_counter() - started)
        self.availability.record(response)
        feedback = None
        if response.status == 200:
            feedback = await self._send_feedback(number, true_label, response.body)
        region = population.regions[population.region[user]]
        return TrafficResult(
            response.status, latency_ms, true_label, region, response.body, feedback, 1000 * late_s
        )

    async def _send_feedback(
        self, number: int, true_label: str, prediction: dict[str, Any]
    ) -> HttpResponse | None:
        if self.scenario.feedback is None:
            return None
        feedback = draw_feedback(
            self.scenario.feedback,
            true_label,
            prediction["label"],
            prediction.get("version", self.versions.get(int(self.population.user[number]))),
            self.population.feedback_draw[number],
            self.population.complaint_draw[number],
        )
        if feedback is None:
            return None
        return await self.service.send_feedback(prediction["prediction_id"], feedback)


async def _assigned_versions(
    service: ServiceClient, scenario: Scenario, population: Population, clients: int
) -> dict[int, str]:
    """The assigned version of each user with requests; empty if the scenario does not need it."""
    has_extra = bool(scenario.feedback and scenario.feedback.complaint_extra)
    if not scenario.lost and not has_extra:
        return {}
    rule = await service.rule()
    if rule.get("unit") != "user":
        if scenario.lost:
            raise BadConfig("lost", f"{_RULE_MISMATCH.format(**rule)}: set one with unit: user")
        if not rule["reveal_version"]:
            raise BadConfig(
                "feedback.complaint_extra",
                f"{_RULE_MISMATCH.format(**rule)}, and hides the version of its predictions: set"
                " one with unit: user or reveal_version: true",
            )
    if not scenario.lost and rule["reveal_version"]:
        return {}
    versions: dict[int, str] = {}

    async def explain(user: int) -> None:
        versions[user] = await service.assigned_version(_user_headers(population, user))

    users = sorted(set(population.user.tolist()))
    await _run_concurrently((explain(user) for user in users), clients)
    return versions


async def _run_concurrently(jobs: Iterable[Coroutine[Any, Any, None]], clients: int) -> None:
    """Run jobs, at most `clients` at a time; the first error ends all."""
    pending: Iterator[Coroutine[Any, Any, None]] = iter(jobs)

    async def run_client() -> None:
        for job in pending:
            await job

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(run_client())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _user_headers(population: Population, user: int) -> dict[str, str]:
    return {"X-User-Id": f"user-{user}", "X-Region": population.regions[population.region[user]]}


def _group_by_label(
    scenario: Scenario, images: Sequence[TrafficImage]
) -> dict[str, list[TrafficImage]]:
    """
    Raises:
        BadConfig: A label of the scenario has no image.
    """
    found: defaultdict[str, list[TrafficImage]] = defaultdict(list)
    for image in images:
        found[image.true_label].append(image)
    for label in scenario.labels:
        if label not in found:
            raise BadConfig(
                "photographs", f"names {label}: there are images of {', '.join(sorted(found))}"
            )
    return found


def _count_lost(lost: Mapping[int, str], turns: Sequence[int]) -> dict[str, LostUsers]:
    """
    Args:
        turns: The user of each request whose turn came.
    """
    requests = Counter(lost[user] for user in turns if user in lost)
    users = Counter(lost[user] for user in set(turns) if user in lost)
    return {version: LostUsers(users[version], requests[version]) for version in sorted(users)}
