"""A scenario, played to the real service: a bounded stream of requests and feedback."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from serve_app.client import Content
from serve_app.errors import BadConfig, NotRunning, Rejected
from serve_app.traffic.images import TrafficImage
from serve_app.traffic.population import Population, draw_feedback, draw_population, is_lost
from serve_app.traffic.scenario import Scenario

TIMEOUT_S = 30.0

Progress = Callable[[], object]


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back.

    Attributes:
        status: HTTP's; 0 when nothing answered.
        content: The JSON that came.
    """

    status: int
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrafficResult:
    """What became of one request.

    Attributes:
        status, answer: See `HttpReply`.
        feedback: What came back when the user said something of the answer; None if nothing was
            said.
    """

    status: int
    latency_ms: float
    truth: str
    region: str
    answer: dict[str, Any]
    feedback: HttpReply | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Users who never arrived, and the requests that they would have sent."""

    users: int
    requests: int


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a scenario.

    Attributes:
        lost: By the version that they were assigned.
    """

    outcomes: list[TrafficResult]
    lost: dict[str, Lost]


async def play(
    url: str,
    scenario: Scenario,
    images: Sequence[TrafficImage],
    *,
    clients: int,
    seed: int,
    progress: Progress,
) -> Played:
    """Send a scenario's requests from `clients` at once, each as soon as its last was answered.

    The day passes as fast as that. Users say what they think of an answer right after it. Where
    it matters which version a user is assigned and the answers do not say it, `GET /v1/explain`
    tells it before the first request.

    Args:
        seed: The same one, the same users, images and tempers.
        progress: Called once for each request of the scenario, also for the lost ones.

    Raises:
        BadConfig: There are no such images, or the rule in force does not allow the scenario.
        NotRunning, Rejected: The service does not say what its rule assigns.
    """
    population = draw_population(scenario, seed)
    by_label = _by_label(scenario, images)
    # aiohttp, for httpx's pool grows slow with the number of connections.
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=clients),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    ) as http:
        service = _Service(http, url.rstrip("/"))
        assigned = await _assigned(service, scenario, population, clients)
        never_arrives = is_lost(scenario, population)
        lost = {user: v for user, v in assigned.items() if never_arrives(user, v)}
        outcomes: list[TrafficResult] = []
        numbers = iter(range(scenario.requests))

        async def client() -> None:
            for number in numbers:
                user = int(population.user[number])
                if user not in lost:
                    outcomes.append(
                        await _ask(
                            service, scenario, population, by_label, number, assigned.get(user)
                        )
                    )
                progress()

        await asyncio.gather(*(client() for _ in range(clients)))
    return Played(outcomes, _count(lost, population))


def unsupported(scenario: Scenario) -> list[str]:
    """Sentences on what a scenario says and a client cannot do."""
    found = [
        f"simulated.{key}: only a simulation into a store can do that"
        for key, value in scenario.simulated.model_dump().items()
        if value
    ]
    if any(part.hours is not None for part in scenario.photographs):
        found.append("photographs.hours: the hours pass as fast as the answers come")
    return found


class _Service:
    """The paths of the service that users take."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def classify(self, image: TrafficImage, headers: dict[str, str]) -> HttpReply:
        return await self._ask(
            "POST",
            "/v1/classify",
            data=image.data,
            headers=headers | {"Content-Type": image.media_type},
        )

    async def feedback(self, prediction_id: str, said: Mapping[str, Any]) -> HttpReply:
        body = {"prediction_id": prediction_id, **said}
        return await self._ask("POST", "/v1/feedback", json=body)

    async def rule(self) -> dict[str, Any]:
        rule: dict[str, Any] = (await self._read("/v1/rule"))["rule"]
        return rule

    async def assigned(self, headers: dict[str, str]) -> str:
        """The version of a user."""
        version: str = (await self._read("/v1/explain", headers))["version"]
        return version

    async def _read(self, path: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """
        Raises:
            NotRunning: Nothing answers.
            Rejected: It says what is wrong.
        """
        reply = await self._ask("GET", path, headers=headers)
        if reply.status == 200:
            return reply.content
        detail = str(reply.content.get("detail", ""))
        if reply.status:
            raise Rejected(reply.status, detail)
        raise NotRunning(f"{self._url}{path} did not answer ({detail}): try again")

    async def _ask(self, method: str, path: str, **options: Any) -> HttpReply:
        try:
            async with self._http.request(method, f"{self._url}{path}", **options) as response:
                return HttpReply(response.status, _content(await response.text()))
        except (aiohttp.ClientError, TimeoutError) as exc:
            return HttpReply(0, {"detail": f"{type(exc).__name__} {exc}".strip()})


async def _ask(
    service: _Service,
    scenario: Scenario,
    population: Population,
    images: Mapping[str, Sequence[TrafficImage]],
    number: int,
    assigned: str | None,
) -> TrafficResult:
    """One request, and what its user says of the answer."""
    truth = population.labels[population.truth[number]]
    image = images[truth][int(population.image[number] * len(images[truth]))]
    user = int(population.user[number])
    headers = _headers(population, user) | {
        "X-Session-Id": f"user-{user}-{population.hour[number]}"
    }
    started = time.perf_counter()
    reply = await service.classify(image, headers)
    latency_ms = 1000 * (time.perf_counter() - started)
    answer, feedback = reply.content, None
    if reply.status == 200 and scenario.feedback:
        said = draw_feedback(
            scenario.feedback,
            truth,
            answer["label"],
            answer.get("version", assigned),
            population.says[number],
            population.complains[number],
        )
        if said:
            feedback = await service.feedback(answer["prediction_id"], said)
    region = population.regions[population.region[user]]
    return TrafficResult(reply.status, latency_ms, truth, region, answer, feedback)


async def _assigned(
    service: _Service, scenario: Scenario, population: Population, clients: int
) -> dict[int, str]:
    """The version of each user who asks, as far as anybody needs to know."""
    extra = bool(scenario.feedback and scenario.feedback.complaint_extra)
    if not scenario.lost and not extra:
        return {}
    rule = await service.rule()
    if rule.get("unit") != "user":
        if scenario.lost:
            raise BadConfig("lost", f"{_MISFIT.format(**rule)}: it needs one with unit: user")
        if not rule["reveal_version"]:
            raise BadConfig(
                "feedback.complaint_extra",
                f"{_MISFIT.format(**rule)}, and hides the version of its answers: it needs one"
                " with unit: user or reveal_version: true",
            )
    if not scenario.lost and rule["reveal_version"]:
        return {}
    versions: dict[int, str] = {}

    async def ask(user: int) -> None:
        versions[user] = await service.assigned(_headers(population, user))

    await _at_once((ask(user) for user in sorted(set(population.user.tolist()))), clients)
    return versions


_MISFIT = "does not fit the rule in force, {kind}, which assigns no user a version for good"


async def _at_once(jobs: Iterable[Coroutine[Any, Any, None]], clients: int) -> None:
    """So many jobs at a time; the first that fails ends all."""
    waiting: Iterator[Coroutine[Any, Any, None]] = iter(jobs)

    async def client() -> None:
        for job in waiting:
            await job

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _headers(population: Population, user: int) -> dict[str, str]:
    return {"X-User-Id": f"user-{user}", "X-Region": population.regions[population.region[user]]}


def _by_label(scenario: Scenario, images: Sequence[TrafficImage]) -> dict[str, list[TrafficImage]]:
    """
    Raises:
        BadConfig: There is none of a label that is photographed.
    """
    found: defaultdict[str, list[TrafficImage]] = defaultdict(list)
    for image in images:
        found[image.truth].append(image)
    for label in scenario.labels:
        if label not in found:
            raise BadConfig(
                "photographs", f"names {label}: there are images of {', '.join(sorted(found))}"
            )
    return found


def _count(lost: Mapping[int, str], population: Population) -> dict[str, Lost]:
    users = Counter(lost.values())
    requests = Counter(lost[user] for user in population.user.tolist() if user in lost)
    return {version: Lost(users[version], requests[version]) for version in sorted(users)}


def _content(text: str) -> dict[str, Any]:
    """The JSON object that came; the text, as a problem's detail, when it is none."""
    try:
        content = json.loads(text)
    except ValueError:  # such as the proxy's own answers
        content = None
    return Content(content if isinstance(content, dict) else {"detail": text[:100]})
