"""Simulated users with a heavy-tailed number of exposures and feedback on a quarter of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serve_app.evidence.units import Flags, Floats, Ints, UnitSums

FEEDBACK_RATE = 0.25  # the share of exposures with feedback


@dataclass(frozen=True, slots=True)
class Design:
    """The parameters of a simulated experiment.

    Attributes:
        users: Number of users.
        days: Duration; there is one look a day.
        visits: Median of the expected exposures of a user, over all days.
        tail: Sigma of the lognormal activity; 1 gives a mean of 1.6 times the median.
        rate: Event probability of an exposure, for a user with median activity.
        activity_exponent: Lowers it for active users: rate * activity ** -activity_exponent.
        broken: Share of users with a broken camera: each of their exposures is an event.
        effect: Added to the event probability in treatment.
        weights: Of treatment, in consecutive periods of equal length.
        drift: Relative increase of the rate over all days; 1 doubles it.
    """

    users: int
    days: int = 30
    visits: float = 2.0
    tail: float = 1.0
    rate: float = 0.1
    activity_exponent: float = 0.0
    broken: float = 0.0
    effect: float = 0.0
    weights: tuple[float, ...] = (0.5,)
    drift: float = 0.0

    @property
    def observed_effect(self) -> float:
        """The effect on the rate of events with feedback."""
        return FEEDBACK_RATE * self.effect


@dataclass(frozen=True, slots=True, eq=False)
class DailyExposures:
    """One row per user and day with an exposure; the day is the stratum."""

    unit: Ints
    day: Ints
    treated: Flags
    x: Floats
    y: Floats

    def sums_until(self, day: int) -> UnitSums:
        """The sums at the end of a day."""
        rows = self.day <= day
        return UnitSums(
            self.unit[rows], self.day[rows], self.treated[rows], self.x[rows], self.y[rows]
        )


def simulate(design: Design, rng: np.random.Generator) -> DailyExposures:
    """Draw users with an arrival day, later exposures, one bucket each, and random events."""
    activity = rng.lognormal(0, design.tail, design.users)
    arrival = rng.integers(0, design.days, design.users)
    bucket = rng.random(design.users)
    days_left = design.days - arrival
    exposures = 1 + rng.poisson(design.visits * activity * days_left / design.days)
    unit = np.repeat(np.arange(design.users), exposures)
    first = np.concatenate([[0], np.cumsum(exposures)[:-1]])
    day = arrival[unit] + np.floor(rng.random(len(unit)) * days_left[unit]).astype(np.int64)
    day[first] = arrival
    cells, row = np.unique(unit * design.days + day, return_inverse=True)
    x = np.bincount(row).astype(np.float64)
    unit, day = cells // design.days, cells % design.days
    weight = np.resize(
        np.repeat(design.weights, -(-design.days // len(design.weights))), design.days
    )
    treated = bucket[unit] < weight[day]
    user_factor = rng.beta(2, 2, design.users) * 2  # mean 1
    probability = design.rate * user_factor[unit] * activity[unit] ** -design.activity_exponent
    probability = np.where((rng.random(design.users) < design.broken)[unit], 1, probability)
    probability = probability * (1 + design.drift * day / design.days) + design.effect * treated
    y = rng.binomial(x.astype(np.int64), np.clip(FEEDBACK_RATE * probability, 0, 1)).astype(
        np.float64
    )
    return DailyExposures(unit, day, treated, x, y)


def draw_images(
    rng: np.random.Generator, users: int, images: int, share: float, correlation: float
) -> tuple[Ints, Floats]:
    """[images]: the user of each, with heavy-tailed activity, and whether it shows a koala.

    Args:
        share: Of koalas.
        correlation: Within users (intraclass): 0 if the images of a user are independent, 1 if all
            of them show the same animal.
    """
    activity = rng.lognormal(0, 1.2, users)
    unit = rng.choice(users, images, p=activity / activity.sum()) + 1
    if correlation == 1:
        user_share = (rng.random(users) < share).astype(float)
    else:
        precision = (1 - correlation) / correlation if correlation else 1e9
        user_share = rng.beta(share * precision, (1 - share) * precision, users)
    return unit, (rng.random(images) < user_share[unit - 1]).astype(float)
