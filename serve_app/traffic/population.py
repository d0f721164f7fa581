"""The population of a scenario: its random users, their requests and their feedback."""

from __future__ import annotations

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
    """Users and their n requests, in order of time.

    The draws are uniform in [0, 1).

    Attributes:
        regions: Country codes; `region` holds indices into them.
        labels: Labels; `true_label` holds indices into them.
        region: int64 [users], the country of each user.
        loss_draw: float64 [users], compared with the share of lost users of a version.
        user: int64 [n], the index of the user who sends each request.
        day_fraction: float64 [n] in [0, 1), the time of each request as a fraction of the day.
        true_label: int64 [n], the true label of each image.
        image_draw: float64 [n], selects one of the images of the true label.
        feedback_draw: float64 [n], compared with the feedback coverage.
        complaint_draw: float64 [n], compared with the probability of a complaint.
    """

    regions: tuple[str, ...]
    labels: tuple[str, ...]
    region: Ints
    loss_draw: Floats
    user: Ints
    day_fraction: Floats
    true_label: Ints
    image_draw: Floats
    feedback_draw: Floats
    complaint_draw: Floats

    @property
    def hour(self) -> Ints:
        """int64 [n] in [0, 24), the hour of each request, UTC."""
        return (self.day_fraction * HOURS).astype(np.int64)


def draw_population(scenario: Scenario, seed: int) -> Population:
    """Draw the population of a scenario; the same seed gives the same population.

    The keys `feedback` and `lost` do not change the population.
    """
    rng = np.random.default_rng(seed)
    users, requests = scenario.users, scenario.requests
    activity = np.exp(scenario.activity_sigma * rng.standard_normal(users))
    regions = tuple(scenario.regions)
    region = _choose(np.array(list(scenario.regions.values())), rng.random(users))
    loss_draw = rng.random(users)
    user = _choose(activity, rng.random(requests))
    day_fraction = np.sort(rng.random(requests))
    hour = (day_fraction * HOURS).astype(int)
    edges = np.cumsum(label_shares(scenario), axis=2)[region[user], hour]
    label_draw = rng.random(users)[user] if scenario.one_pet else rng.random(requests)
    scaled_draw = label_draw * edges[:, -1]  # rounding may leave the last edge next to 1
    return Population(
        regions=regions,
        labels=scenario.labels,
        region=region,
        loss_draw=loss_draw,
        user=user,
        day_fraction=day_fraction,
        true_label=np.minimum((scaled_draw[:, None] >= edges).sum(axis=1), edges.shape[1] - 1),
        image_draw=rng.random(requests),
        feedback_draw=rng.random(requests),
        complaint_draw=rng.random(requests),
    )


def label_shares(scenario: Scenario) -> Floats:
    """float64 [regions, 24, labels]: the share of each label by country and hour (UTC)."""
    shares = np.zeros((len(scenario.regions), HOURS, len(scenario.labels)))
    for part in scenario.photographs:
        row = [part.shares.get(label, 0.0) for label in scenario.labels]
        countries = set[str]().union(*(members(name) or () for name in part.regions or ()))
        rows = [
            index
            for index, code in enumerate(scenario.regions)
            if not part.regions or code in countries
        ]
        shares[np.ix_(rows, part.hours or range(HOURS))] = row
    return shares


def draw_feedback(
    habits: FeedbackHabits,
    true_label: str,
    predicted_label: str,
    version: str | None,
    feedback_draw: float,
    complaint_draw: float,
) -> dict[str, Any] | None:
    """The feedback of a user on one prediction, with the keys of `POST /v1/feedback`.

    Args:
        version: The version that `complaint_extra` applies to; None ignores `complaint_extra`.
        feedback_draw, complaint_draw: See `Population`.

    Returns:
        None if the user sends no feedback.
    """
    if feedback_draw >= habits.coverage:
        return None
    is_right = predicted_label == true_label
    base = habits.complaint.right if is_right else habits.complaint.wrong
    extra = habits.complaint_extra.get(version, 0.0) if version else 0.0
    feedback: dict[str, Any] = {"complaint": bool(complaint_draw < base + extra)}
    return feedback | {"label": true_label} if habits.tells_truth else feedback


def is_lost(scenario: Scenario, population: Population, user: int, version: str) -> bool:
    """Whether a user who is assigned a version never sends a request."""
    return bool(population.loss_draw[user] < scenario.lost.get(version, 0.0))


def _choose(weights: Floats, draws: Floats) -> Ints:
    """Indices of `weights`, each with a probability proportional to its weight.

    Args:
        draws: Uniform in [0, 1), one per index to return.
    """
    edges = np.cumsum(weights)
    found = np.searchsorted(edges, draws * edges[-1], side="right")
    return np.asarray(np.minimum(found, len(weights) - 1), np.int64)
