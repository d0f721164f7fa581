"""The population of a scenario: invented users, their requests and their feedback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.regions import members
from serve_app.traffic.scenario import HOURS, FeedbackHabits, Scenario

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Users and their n requests, in the order of time.

    Attributes:
        regions, labels: What `region` and `truth` count.
        region: int64 [users], where each lives.
        loss: float64 [users], uniform in [0, 1): a user of a version of which more are lost than
            this never arrives.
        user: int64 [n], who asks.
        at: float64 [n], when, as a share of the day, from 0 to below 1.
        truth: int64 [n], what the image shows.
        image, says, complains: float64 [n], uniform in [0, 1): which image of that, whether
            something is said of the answer, whether it is a complaint.
    """

    regions: tuple[str, ...]
    labels: tuple[str, ...]
    region: Ints
    loss: Floats
    user: Ints
    at: Floats
    truth: Ints
    image: Floats
    says: Floats
    complains: Floats

    @property
    def hour(self) -> Ints:
        """int64 [n], of the day."""
        return (self.at * HOURS).astype(np.int64)


def draw_population(scenario: Scenario, seed: int) -> Population:
    """The population of a scenario, the same for the same seed.

    Scenarios that differ in nothing but `feedback`, `lost` or `simulated` have the same population.
    """
    rng = np.random.default_rng(seed)
    users, requests = scenario.users, scenario.requests
    activity = np.exp(scenario.activity_sigma * rng.standard_normal(users))
    regions = tuple(scenario.regions)
    region = _pick(np.array(list(scenario.regions.values())), rng.random(users))
    loss = rng.random(users)
    user = _pick(activity, rng.random(requests))
    at = np.sort(rng.random(requests))
    edges = np.cumsum(photograph_shares(scenario), axis=2)[region[user], (at * HOURS).astype(int)]
    shown = rng.random(users)[user] if scenario.one_pet else rng.random(requests)
    drawn = shown * edges[:, -1]  # which rounding leaves beside 1
    return Population(
        regions=regions,
        labels=scenario.labels,
        region=region,
        loss=loss,
        user=user,
        at=at,
        truth=np.minimum((drawn[:, None] >= edges).sum(axis=1), edges.shape[1] - 1),
        image=rng.random(requests),
        says=rng.random(requests),
        complains=rng.random(requests),
    )


def photograph_shares(scenario: Scenario) -> Floats:
    """[regions, 24, labels]: how often each is photographed, by the hour; UTC."""
    shares = np.zeros((len(scenario.regions), HOURS, len(scenario.labels)))
    for part in scenario.photographs:
        row = [part.shares.get(label, 0.0) for label in scenario.labels]
        inside = set[str]().union(*(members(name) or () for name in part.regions or ()))
        here = [i for i, code in enumerate(scenario.regions) if not part.regions or code in inside]
        shares[np.ix_(here, part.hours or range(HOURS))] = row
    return shares


def draw_feedback(
    habits: FeedbackHabits,
    truth: str,
    label: str,
    version: str | None,
    says: float,
    complains: float,
) -> dict[str, Any] | None:
    """What a user says of an answer, by the keys of `POST /v1/feedback`; None for nothing.

    Args:
        truth, label: What the image shows, and what was answered.
        version: The one whose users they are, if that matters.
        says, complains: See `Population`.
    """
    if says >= habits.coverage:
        return None
    base = habits.complaint.right if label == truth else habits.complaint.wrong
    extra = habits.complaint_extra.get(version, 0.0) if version else 0.0
    said: dict[str, Any] = {"complaint": bool(complains < base + extra)}
    return said | {"label": truth} if habits.tells_truth else said


def is_lost(scenario: Scenario, population: Population) -> Callable[[int, str], bool]:
    """Tells whether a user who was assigned a version never arrives."""
    return lambda user, version: bool(population.loss[user] < scenario.lost.get(version, 0.0))


def _pick(weights: Floats, drawn: Floats) -> Ints:
    """Numbers from 0, each as often as its weight says; `drawn` is uniform in [0, 1)."""
    edges = np.cumsum(weights)
    found = np.searchsorted(edges, drawn * edges[-1], side="right")
    return np.asarray(np.minimum(found, len(weights) - 1), np.int64)
