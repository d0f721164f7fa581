"""Scenarios, played straight into a store: real rules and real draws, stand-ins for the models.

    for batch in simulate(read_scenario(path), parse_rule(...), seed):
        store.record(batch)

A day of 20,000 requests costs 0.4 s of a busy processor, and to record it in SQLite 1.5 to 2 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import Context, CopyOutcome, Exposure, Feedback, Plan, ShadowPair
from serve_app.errors import Problem
from serve_app.privacy.pseudonyms import Pseudonymizer
from serve_app.recording.batch import Adoption, Batch
from serve_app.regions import members
from serve_app.rules.rule import Rule
from serve_app.rules.shadow import Shadow
from serve_app.traffic.population import (
    Population,
    draw_feedback,
    draw_population,
    is_lost,
    photograph_shares,
)
from serve_app.traffic.scenario import Latency, Scenario

WRITER = "51a1a7e00001"
START_MS = 1_700_006_400_000  # a UTC midnight
DAY_MS = 86_400_000
BATCH_SIZE = 20_000  # batches of 1,000 take the store a fifth longer
FEEDBACK_MS = (5_000, 300_000)  # how long after an answer something is said of it
OUR_FAULT = Problem.code

KNOWS = {"v1": ("cat", "dog"), "v2": ("cat", "dog", "koala")}
ACCURACY = {"v1": 0.91, "v2": 0.90}  # of the labels that it knows; mistakes spread evenly
CANNOT_SAY = {("v1", "koala"): {"dog": 0.77, "cat": 0.23}}
LATENCY = Latency(median=12)  # milliseconds
MODEL_SHARE = 0.4  # of the latency


@dataclass(frozen=True, slots=True)
class _Answers:
    """What a version would say of each request, were it asked."""

    label: list[str]
    confidence: list[float]
    latency_ms: list[float]
    fails: list[bool]


def simulate(
    scenario: Scenario,
    rule: Rule,
    seed: int,
    *,
    start_ms: int = START_MS,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Batch]:
    """One writer's batches of a day under one rule; the same for the same arguments.

    Users are hashed and assigned by the rule itself. Versions err independently of one another.
    What is said of an answer comes in the batch of its exposure.

    Args:
        rule: Its versions are among v1 and v2.
        start_ms: When the day begins, milliseconds since 1970 UTC; days that follow one another
            under one seed number their requests anew, so give each a seed.

    Raises:
        ValueError: Users are to be lost, and the rule assigns none.
    """
    if scenario.lost and getattr(rule, "unit", None) != "user":
        raise ValueError(f"{scenario.name} loses users: {rule.kind} needs unit: user")
    population = draw_population(scenario, seed)
    rng = np.random.default_rng((seed, 1))
    answers = {
        version: _answers(scenario, population, version, rng) for version in rule.versions.values()
    }
    entries = _Entries(scenario, rule, population, answers, rng, start_ms)
    adoptions = (Adoption(start_ms, rule.rule_id, rule.canonical()),)
    arrived = entries.arrived()
    for first in range(0, len(arrived), batch_size):
        chosen = range(first, min(first + batch_size, len(arrived)))
        exposures = tuple(entries.exposure(n + 1, *arrived[n]) for n in chosen)
        requests = [arrived[n][0] for n in chosen]
        pairs = [entries.pair(e, r) for e, r in zip(exposures, requests, strict=True)]
        words = [entries.feedback(e, r) for e, r in zip(exposures, requests, strict=True)]
        yield Batch(
            WRITER,
            adoptions=adoptions if first == 0 else (),
            exposures=exposures,
            pairs=tuple(pair for pair in pairs if pair),
            feedback=tuple(word for word in words if word),
            last_sequence=chosen.stop,
        )


def complaint_rate(scenario: Scenario, version: str, regions: tuple[str, ...] = ()) -> float:
    """The probability that something said of a simulated answer of a version is a complaint.

    Args:
        regions: Countries or groups; everywhere, if there are none.
    """
    habits = scenario.feedback
    assert habits
    inside = set[str]().union(*(members(name) or () for name in regions))
    weight = [
        share if not regions or code in inside else 0 for code, share in scenario.regions.items()
    ]
    shares = np.tensordot(np.array(weight) / sum(weight), photograph_shares(scenario).mean(1), 1)
    right = sum(
        share * _confusion(scenario, version, truth).get(truth, 0.0)
        for truth, share in zip(scenario.labels, shares.tolist(), strict=True)
    )
    base = right * habits.complaint.right + (1 - right) * habits.complaint.wrong
    return float(base + habits.complaint_extra.get(version, 0.0))


class _Entries:
    """Makes rows of requests, which are named by their numbers in the population."""

    def __init__(
        self,
        scenario: Scenario,
        rule: Rule,
        population: Population,
        answers: Mapping[str, _Answers],
        rng: np.random.Generator,
        start_ms: int,
    ) -> None:
        n = scenario.requests
        self._scenario, self._rule, self._answers = scenario, rule, answers
        self._crowd = population
        self._user, self._hour = population.user.tolist(), population.hour.tolist()
        self._region = [population.regions[code] for code in population.region]
        self._truth = [population.labels[code] for code in population.truth]
        self._at_ms = (start_ms + population.at * DAY_MS).astype(np.int64).tolist()
        self._says, self._complains = population.says.tolist(), population.complains.tolist()
        self._draw, self._copied = rng.random(n).tolist(), rng.random(n).tolist()
        self._pause_ms = rng.integers(*FEEDBACK_MS, n).tolist()
        self._stable = next(iter(rule.versions.values()))
        self._name = cache(Pseudonymizer(bytes(32)).pseudonym)

    def arrived(self) -> list[tuple[int, Plan]]:
        """The requests that are sent, in their order, and who shall answer them."""
        never_arrives = is_lost(self._scenario, self._crowd)
        plans: dict[tuple[int, ...], Plan] = {}
        found = []
        for request, user in enumerate(self._user):
            # What the rule looks at: what it has assigned once, it assigns again.
            match getattr(self._rule, "unit", "user"):
                case "user":
                    key: tuple[int, ...] = (user,)
                case "session":
                    key = (user, self._hour[request])
                case _:
                    key = (user, self._hour[request], request)
            plan = plans.get(key)
            if plan is None:
                plan = plans[key] = self._rule.plan(self._context(request))
            if not never_arrives(user, plan.assigned or self._stable):
                found.append((request, plan))
        return found

    def _context(self, request: int) -> Context:
        user, session, region = self._who(request)
        return Context(f"r-{request}", user, session, region, draw=self._draw[request])

    def _who(self, request: int) -> tuple[str, str, str]:
        """The hashes of user and session, and the region."""
        user = self._user[request]
        session = f"user-{user}-{self._hour[request]}"
        return self._name(f"user-{user}"), self._name(session), self._region[user]

    def exposure(self, sequence: int, request: int, plan: Plan) -> Exposure:
        user, session, region = self._who(request)
        version = plan.assigned or self._stable
        served: str | None = version
        answers, error = self._answers[version], None
        latency_ms = answers.latency_ms[request]
        if answers.fails[request]:
            served, error = None, OUR_FAULT
            if plan.fallback:
                answers = self._answers[self._stable]
                latency_ms += answers.latency_ms[request]
                served = None if answers.fails[request] else self._stable
        return Exposure(
            WRITER,
            sequence,
            self._at_ms[request],
            f"r-{request}",
            self._rule.rule_id,
            self._rule.kind,
            plan.reason.value,
            plan.assigned or served,
            served,
            user,
            session,
            region,
            answers.label[request] if served else None,
            answers.confidence[request] if served else None,
            latency_ms,
            MODEL_SHARE * answers.latency_ms[request] if served else None,
            error,
        )

    def pair(self, live: Exposure, request: int) -> ShadowPair | None:
        """What the candidate says of the copy, if the rule is a shadow and samples it."""
        rule = self._rule
        if not isinstance(rule, Shadow) or self._copied[request] >= rule.sample:
            return None
        answers = self._answers[rule.candidate]
        latency_ms, fails = answers.latency_ms[request], answers.fails[request]
        return ShadowPair(
            writer=live.writer,
            sequence=live.sequence,
            at_ms=live.at_ms,
            rule_id=rule.rule_id,
            candidate=rule.candidate,
            outcome=(CopyOutcome.FAILED if fails else CopyOutcome.COPIED).value,
            probability=rule.sample,
            label=None if fails else answers.label[request],
            confidence=None if fails else answers.confidence[request],
            latency_ms=latency_ms,
            model_ms=None if fails else MODEL_SHARE * latency_ms,
            error=OUR_FAULT if fails else None,
            region=live.region,
            live_version=live.served,
            live_label=live.label,
            live_model_ms=live.model_ms,
            live_latency_ms=live.latency_ms,
            unit=live.user or live.session,
        )

    def feedback(self, exposure: Exposure, request: int) -> Feedback | None:
        """What the user says of an answer, if anything."""
        habits = self._scenario.feedback
        if habits is None or exposure.label is None:
            return None
        said: dict[str, Any] | None = draw_feedback(
            habits,
            self._truth[request],
            exposure.label,
            exposure.served,
            self._says[request],
            self._complains[request],
        )
        if said is None:
            return None
        return Feedback(
            exposure.writer,
            exposure.sequence,
            exposure.at_ms + self._pause_ms[request],
            exposure.at_ms,
            exposure.rule_id,
            exposure.assigned,
            exposure.label,
            label=said.get("label"),
            correct=None,
            rating=None,
            complaint=said["complaint"],
        )


def _answers(
    scenario: Scenario, population: Population, version: str, rng: np.random.Generator
) -> _Answers:
    n, simulated = scenario.requests, scenario.simulated
    latency = simulated.latency_ms.get(version, LATENCY)
    says = np.array(KNOWS[version])
    shares = np.array(
        [
            [_confusion(scenario, version, truth).get(label, 0.0) for label in KNOWS[version]]
            for truth in scenario.labels
        ]
    )
    label = _among(np.cumsum(shares, axis=1)[population.truth], rng.random(n))
    return _Answers(
        says[label].tolist(),
        rng.uniform(0.6, 1.0, n).tolist(),
        (latency.median * np.exp(latency.sigma * rng.standard_normal(n))).tolist(),
        (rng.random(n) < simulated.errors.get(version, 0.0)).tolist(),
    )


def _among(edges: NDArray[np.float64], drawn: NDArray[np.float64]) -> NDArray[np.int64]:
    """[n]: the first column of each row that is above what was drawn in [0, 1)."""
    found = ((drawn * edges[:, -1])[:, None] >= edges).sum(axis=1)
    return np.asarray(np.minimum(found, edges.shape[1] - 1), np.int64)


def _confusion(scenario: Scenario, version: str, truth: str) -> dict[str, float]:
    """How often a version answers what, shown a label."""
    if (version, truth) in CANNOT_SAY:
        return CANNOT_SAY[version, truth]
    right = scenario.simulated.accuracy.get(version, ACCURACY[version])
    others = [label for label in KNOWS[version] if label != truth]
    assert len(others) < len(KNOWS[version]), f"nothing is stated of {version} shown a {truth}"
    return {truth: right} | {label: (1 - right) / len(others) for label in others}
