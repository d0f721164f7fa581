"""Scenarios simulated as batches for a store: real rules and populations, simulated models.

    for batch in simulate(read_scenario(path), parse_rule(...), seed):
        store.record(batch)

A day of 20,000 requests takes 0.4 s of CPU time, and 1.5 to 2 s to record in SQLite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.errors import Problem
from serve_app.privacy.pseudonyms import Pseudonymizer
from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.records import Exposure, Feedback, ShadowPair
from serve_app.regions import members
from serve_app.rules.plan import Context, Plan
from serve_app.rules.rule import Rule
from serve_app.rules.shadow import Shadow
from serve_app.traffic.population import (
    Population,
    draw_feedback,
    draw_population,
    is_lost,
    label_shares,
)
from serve_app.traffic.scenario import Scenario
from tests.factories import feedback_on, pair_of

WRITER = "51a1a7e00001"
START_MS = 1_700_006_400_000  # a UTC midnight
DAY_MS = 86_400_000
BATCH_SIZE = 20_000  # batches of 1,000 take the store 20 % longer
FEEDBACK_DELAY_MS = (5_000, 300_000)
INTERNAL_ERROR = Problem.code

LABELS = {"v1": ("cat", "dog"), "v2": ("cat", "dog", "koala")}
ACCURACY = {"v1": 0.91, "v2": 0.90}  # on known labels; errors are uniform
# (version, true label that it does not know) -> predicted label -> probability
UNKNOWN_LABELS = {("v1", "koala"): {"dog": 0.77, "cat": 0.23}}
MEDIAN_MS, SIGMA = 12.0, 0.35  # of the lognormal latencies
MODEL_SHARE = 0.4  # of the latency


@dataclass(frozen=True, slots=True)
class Models:
    """How the simulated versions behave. Each field is by version.

    Attributes:
        accuracy: The share of right predictions, of images whose label the version knows.
        errors: The share of requests that fail.
        median_ms: The median latency, milliseconds.
    """

    accuracy: Mapping[str, float] = field(default_factory=ACCURACY.copy)
    errors: Mapping[str, float] = field(default_factory=dict)
    median_ms: Mapping[str, float] = field(default_factory=dict)


MODELS = Models()
SLOWER_V2 = Models(errors={"v2": 0.01}, median_ms={"v1": 12.0, "v2": 18.0})


@dataclass(frozen=True, slots=True)
class _Predictions:
    """The predictions of a version for all requests."""

    label: list[str]
    confidence: list[float]
    latency_ms: list[float]
    is_error: list[bool]


def simulate(
    scenario: Scenario,
    rule: Rule,
    seed: int,
    models: Models = MODELS,
    *,
    start_ms: int = START_MS,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Batch]:
    """The batches of one writer for a day under one rule; deterministic.

    The rule assigns the hashed users. Versions err independently of each other. Feedback comes in
    the batch of its exposure.

    Args:
        rule: A rule with versions among v1 and v2.
        start_ms: Start of the day, milliseconds since 1970 UTC. Sequence numbers start at 1 each
            day, so that consecutive days need different writers.

    Raises:
        ValueError: The scenario loses users, and the rule does not assign users.
    """
    if scenario.lost and getattr(rule, "unit", None) != "user":
        raise ValueError(f"{scenario.name} loses users: {rule.kind} needs unit: user")
    population = draw_population(scenario, seed)
    rng = np.random.default_rng((seed, 1))
    predictions = {
        version: _predict(scenario, models, population, version, rng)
        for version in rule.versions.values()
    }
    records = _Records(scenario, rule, population, predictions, rng, start_ms)
    adoptions = (Adoption(start_ms, rule.rule_id, rule.canonical()),)
    arrivals = records.arrivals()
    for first in range(0, len(arrivals), batch_size):
        numbers = range(first, min(first + batch_size, len(arrivals)))
        exposures = tuple(records.exposure(n + 1, *arrivals[n]) for n in numbers)
        requests = [arrivals[n][0] for n in numbers]
        pairs = [records.pair(e, r) for e, r in zip(exposures, requests, strict=True)]
        feedback = [records.feedback(e, r) for e, r in zip(exposures, requests, strict=True)]
        yield Batch(
            WRITER,
            adoptions=adoptions if first == 0 else (),
            exposures=exposures,
            pairs=tuple(pair for pair in pairs if pair),
            feedback=tuple(row for row in feedback if row),
            last_sequence=numbers.stop,
        )


def complaint_rate(scenario: Scenario, version: str, regions: tuple[str, ...] = ()) -> float:
    """The probability that feedback on a simulated prediction of a version is a complaint.

    Args:
        regions: Countries or groups; all regions if empty.
    """
    habits = scenario.feedback
    assert habits
    inside = set[str]().union(*(members(name) or () for name in regions))
    weight = [
        share if not regions or code in inside else 0 for code, share in scenario.regions.items()
    ]
    shares = np.tensordot(np.array(weight) / sum(weight), label_shares(scenario).mean(1), 1)
    right = sum(
        share * _confusion(MODELS, version, truth).get(truth, 0.0)
        for truth, share in zip(scenario.labels, shares.tolist(), strict=True)
    )
    base = right * habits.complaint.right + (1 - right) * habits.complaint.wrong
    return float(base + habits.complaint_extra.get(version, 0.0))


class _Records:
    """Makes the records of requests. A request is its index in the population."""

    def __init__(
        self,
        scenario: Scenario,
        rule: Rule,
        population: Population,
        predictions: Mapping[str, _Predictions],
        rng: np.random.Generator,
        start_ms: int,
    ) -> None:
        n = scenario.requests
        self._scenario, self._rule, self._predictions = scenario, rule, predictions
        self._population = population
        self._user, self._hour = population.user.tolist(), population.hour.tolist()
        self._region = [population.regions[code] for code in population.region]
        self._truth = [population.labels[code] for code in population.true_label]
        self._at_ms = (start_ms + population.day_fraction * DAY_MS).astype(np.int64).tolist()
        self._feedback_draw, self._complaint_draw = (
            population.feedback_draw.tolist(),
            population.complaint_draw.tolist(),
        )
        self._draw, self._sample_draw = rng.random(n).tolist(), rng.random(n).tolist()
        self._feedback_delay_ms = rng.integers(*FEEDBACK_DELAY_MS, n).tolist()
        self._stable = rule.stable
        self._pseudonym = cache(Pseudonymizer(bytes(32)).pseudonym)

    def arrivals(self) -> list[tuple[int, Plan]]:
        """The requests that are sent, in order, with their plans."""
        plans: dict[tuple[int, ...], Plan] = {}
        arrivals = []
        for request, user in enumerate(self._user):
            # A rule assigns the same unit again, so that its plan can be cached.
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
            if not is_lost(self._scenario, self._population, user, plan.assigned or self._stable):
                arrivals.append((request, plan))
        return arrivals

    def _context(self, request: int) -> Context:
        user, session, region = self._unit_hashes(request)
        return Context(f"r-{request}", user, session, region, draw=self._draw[request])

    def _unit_hashes(self, request: int) -> tuple[str, str, str]:
        """The hashes of the user and the session, and the region."""
        user = self._user[request]
        session = f"user-{user}-{self._hour[request]}"
        return self._pseudonym(f"user-{user}"), self._pseudonym(session), self._region[user]

    def exposure(self, sequence: int, request: int, plan: Plan) -> Exposure:
        user, session, region = self._unit_hashes(request)
        version = plan.assigned or self._stable
        served: str | None = version
        predictions, error = self._predictions[version], None
        latency_ms = predictions.latency_ms[request]
        if predictions.is_error[request]:
            served, error = None, INTERNAL_ERROR
            if plan.fallback:
                predictions = self._predictions[self._stable]
                latency_ms += predictions.latency_ms[request]
                served = None if predictions.is_error[request] else self._stable
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
            predictions.label[request] if served else None,
            predictions.confidence[request] if served else None,
            latency_ms,
            MODEL_SHARE * predictions.latency_ms[request] if served else None,
            error,
        )

    def pair(self, live: Exposure, request: int) -> ShadowPair | None:
        """The shadow pair, if the rule is a shadow and samples the request."""
        rule = self._rule
        if not isinstance(rule, Shadow) or self._sample_draw[request] >= rule.sample:
            return None
        predictions = self._predictions[rule.candidate]
        latency_ms, is_error = predictions.latency_ms[request], predictions.is_error[request]
        return pair_of(
            live,
            None if is_error else predictions.label[request],
            candidate=rule.candidate,
            probability=rule.sample,
            confidence=None if is_error else predictions.confidence[request],
            latency_ms=latency_ms,
            model_ms=None if is_error else MODEL_SHARE * latency_ms,
            error=INTERNAL_ERROR if is_error else None,
        )

    def feedback(self, exposure: Exposure, request: int) -> Feedback | None:
        """The user's feedback on an exposure, if any."""
        habits = self._scenario.feedback
        if habits is None or exposure.label is None:
            return None
        content: dict[str, Any] | None = draw_feedback(
            habits,
            self._truth[request],
            exposure.label,
            exposure.served,
            self._feedback_draw[request],
            self._complaint_draw[request],
        )
        if content is None:
            return None
        return feedback_on(exposure, self._feedback_delay_ms[request], **content)


def _predict(
    scenario: Scenario,
    models: Models,
    population: Population,
    version: str,
    rng: np.random.Generator,
) -> _Predictions:
    n = scenario.requests
    median_ms = models.median_ms.get(version, MEDIAN_MS)
    labels = np.array(LABELS[version])
    shares = np.array(
        [
            [_confusion(models, version, truth).get(label, 0.0) for label in LABELS[version]]
            for truth in scenario.labels
        ]
    )
    label = _sample_columns(np.cumsum(shares, axis=1)[population.true_label], rng.random(n))
    return _Predictions(
        labels[label].tolist(),
        rng.uniform(0.6, 1.0, n).tolist(),
        (median_ms * np.exp(SIGMA * rng.standard_normal(n))).tolist(),
        (rng.random(n) < models.errors.get(version, 0.0)).tolist(),
    )


def _sample_columns(edges: NDArray[np.float64], draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64 [n]: a column of each row, drawn from cumulated weights.

    Args:
        edges: [n, columns], cumulated weights.
        draws: [n], uniform in [0, 1).
    """
    column = ((draws * edges[:, -1])[:, None] >= edges).sum(axis=1)
    return np.asarray(np.minimum(column, edges.shape[1] - 1), np.int64)


def _confusion(models: Models, version: str, truth: str) -> dict[str, float]:
    """Predicted label -> its probability, for an image with a true label."""
    if (version, truth) in UNKNOWN_LABELS:
        return UNKNOWN_LABELS[version, truth]
    right = models.accuracy[version]
    others = [label for label in LABELS[version] if label != truth]
    assert len(others) < len(LABELS[version]), f"{version} has no confusion for {truth}"
    return {truth: right} | {label: (1 - right) / len(others) for label in others}
