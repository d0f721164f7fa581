"""Sends the requests and the feedback of a scenario to a running service."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from serve_app.client import JsonObject
from serve_app.errors import BadConfig, NotRunning, Rejected
from serve_app.traffic.images import TrafficImage
from serve_app.traffic.population import Population, draw_feedback, draw_population, is_lost
from serve_app.traffic.scenario import Scenario

TIMEOUT_S = 30.0
_RULE_MISMATCH = "does not fit the rule in force, {kind}, which does not assign versions by user"

ProgressCallback = Callable[[], object]


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response of the service.

    Attributes:
        status: The HTTP status; 0 if no response came.
        body: The JSON object; a text or an error is under the key `detail`.
    """

    status: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrafficResult:
    """The result of one classify request.

    Attributes:
        status, body: See `HttpResponse`.
        region: The country of the user.
        feedback: The response to the user's feedback; None if the user sent none.
    """

    status: int
    latency_ms: float
    true_label: str
    region: str
    body: dict[str, Any]
    feedback: HttpResponse | None = None


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
        lost: The lost users, by the version that they were assigned.
    """

    results: list[TrafficResult]
    lost: dict[str, LostUsers]


async def run_scenario(
    url: str,
    scenario: Scenario,
    images: Sequence[TrafficImage],
    *,
    clients: int,
    seed: int,
    progress: ProgressCallback,
) -> ScenarioResult:
    """Send the requests of a scenario from `clients` concurrent clients.

    Each client sends its next request when the response to the last one is there, so the day of
    the scenario passes as fast as the service responds. Feedback follows the prediction at once.
    If the scenario depends on the assigned versions and predictions do not reveal them,
    `GET /v1/explain` is sent for each user first.

    Args:
        seed: The same seed gives the same users, images and feedback.
        progress: Called once for each request of the scenario, including those of lost users.

    Raises:
        BadConfig: There are no images of a label, or the scenario does not fit the rule in force.
        NotRunning, Rejected: The rule or an assignment cannot be read from the service.
    """
    population = draw_population(scenario, seed)
    images_by_label = _group_by_label(scenario, images)
    # aiohttp, because httpx's connection pool gets slow with many connections.
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=clients),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    ) as http:
        service = _ServiceClient(http, url.rstrip("/"))
        versions = await _assigned_versions(service, scenario, population, clients)
        lost = {
            user: version
            for user, version in versions.items()
            if is_lost(scenario, population, user, version)
        }
        results: list[TrafficResult] = []
        numbers = iter(range(scenario.requests))

        async def run_client() -> None:
            for number in numbers:
                user = int(population.user[number])
                if user not in lost:
                    version = versions.get(user)
                    results.append(
                        await _send_request(
                            service, scenario, population, images_by_label, number, version
                        )
                    )
                progress()

        await asyncio.gather(*(run_client() for _ in range(clients)))
    return ScenarioResult(results, _count_lost(lost, population))


def unsupported_settings(scenario: Scenario) -> list[str]:
    """The settings of a scenario that an HTTP client cannot apply, one sentence each."""
    if any(part.hours is not None for part in scenario.photographs):
        return ["photographs.hours: requests are not spread over the hours of a real day"]
    return []


class _ServiceClient:
    """The routes of the service that users call."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def classify(self, image: TrafficImage, headers: dict[str, str]) -> HttpResponse:
        return await self._request(
            "POST",
            "/v1/classify",
            data=image.data,
            headers=headers | {"Content-Type": image.media_type},
        )

    async def send_feedback(self, prediction_id: str, feedback: Mapping[str, Any]) -> HttpResponse:
        body = {"prediction_id": prediction_id, **feedback}
        return await self._request("POST", "/v1/feedback", json=body)

    async def rule(self) -> dict[str, Any]:
        rule: dict[str, Any] = (await self._get("/v1/rule"))["rule"]
        return rule

    async def assigned_version(self, headers: dict[str, str]) -> str:
        version: str = (await self._get("/v1/explain", headers))["version"]
        return version

    async def _get(self, path: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """
        Raises:
            NotRunning: There is no response.
            Rejected: The response is an error.
        """
        response = await self._request("GET", path, headers=headers)
        if response.status == 200:
            return response.body
        detail = str(response.body.get("detail", ""))
        if response.status:
            raise Rejected(response.status, detail)
        raise NotRunning(f"{self._url}{path} did not respond ({detail}): try again")

    async def _request(self, method: str, path: str, **options: Any) -> HttpResponse:
        try:
            async with self._http.request(method, f"{self._url}{path}", **options) as response:
                return HttpResponse(response.status, _parse_body(await response.text()))
        except (aiohttp.ClientError, TimeoutError) as exc:
            return HttpResponse(0, {"detail": f"{type(exc).__name__} {exc}".strip()})


async def _send_request(
    service: _ServiceClient,
    scenario: Scenario,
    population: Population,
    images_by_label: Mapping[str, Sequence[TrafficImage]],
    number: int,
    assigned_version: str | None,
) -> TrafficResult:
    """Send one classify request, and the user's feedback on the prediction, if any."""
    true_label = population.labels[population.true_label[number]]
    images = images_by_label[true_label]
    image = images[int(population.image_draw[number] * len(images))]
    user = int(population.user[number])
    headers = _user_headers(population, user) | {
        "X-Session-Id": f"user-{user}-{population.hour[number]}"
    }
    started = time.perf_counter()
    response = await service.classify(image, headers)
    latency_ms = 1000 * (time.perf_counter() - started)
    body, feedback_response = response.body, None
    if response.status == 200 and scenario.feedback:
        feedback = draw_feedback(
            scenario.feedback,
            true_label,
            body["label"],
            body.get("version", assigned_version),
            population.feedback_draw[number],
            population.complaint_draw[number],
        )
        if feedback:
            feedback_response = await service.send_feedback(body["prediction_id"], feedback)
    region = population.regions[population.region[user]]
    return TrafficResult(response.status, latency_ms, true_label, region, body, feedback_response)


async def _assigned_versions(
    service: _ServiceClient, scenario: Scenario, population: Population, clients: int
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


def _count_lost(lost: Mapping[int, str], population: Population) -> dict[str, LostUsers]:
    users = Counter(lost.values())
    requests = Counter(lost[user] for user in population.user.tolist() if user in lost)
    return {version: LostUsers(users[version], requests[version]) for version in sorted(users)}


def _parse_body(text: str) -> dict[str, Any]:
    """The JSON object of a response; any other text goes under the key `detail`."""
    try:
        content = json.loads(text)
    except ValueError:  # such as an error page of the proxy
        content = None
    return JsonObject(content if isinstance(content, dict) else {"detail": text[:100]})
