"""Invented users: some come once, some a thousand times, and one in four says something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serve_app.evidence.units import Flags, Floats, Ints, UnitSums

FEEDBACK = 0.25  # of the exposures whose user says something


@dataclass(frozen=True, slots=True)
class World:
    """How the users of one experiment behave.

    Attributes:
        users: Who ever come.
        days: Looks; on each day one comes in.
        visits: Median exposures of a user over all days.
        tail: Sigma of the lognormal exposures; 1 gives a mean of 1.6 times the median.
        rate: Chance of an event at an exposure, of a user with median activity.
        fading: How much lower it is for users who come often: rate * activity ** -fading.
        broken: Share of users whose camera is broken: each of their exposures is an event.
        effect: Added to the chance under treatment.
        weights: Of treatment, by day.
        drift: The rate doubles over the days, if 1.
    """

    users: int
    days: int = 30
    visits: float = 2.0
    tail: float = 1.0
    rate: float = 0.1
    fading: float = 0.0
    broken: float = 0.0
    effect: float = 0.0
    weights: tuple[float, ...] = (0.5,)
    drift: float = 0.0

    @property
    def shown(self) -> float:
        """The effect as the feedback shows it."""
        return FEEDBACK * self.effect


@dataclass(frozen=True, slots=True, eq=False)
class Visits:
    """One row per user and day with an exposure; the stratum is the day."""

    unit: Ints
    day: Ints
    treated: Flags
    x: Floats
    y: Floats

    def until(self, day: int) -> UnitSums:
        """What is known at the end of a day."""
        seen = self.day <= day
        return UnitSums(
            self.unit[seen], self.day[seen], self.treated[seen], self.x[seen], self.y[seen]
        )


def play(world: World, rng: np.random.Generator) -> Visits:
    """Users arrive over the days, return, keep their bucket, and complain by chance."""
    activity = rng.lognormal(0, world.tail, world.users)
    arrival = rng.integers(0, world.days, world.users)
    bucket = rng.random(world.users)
    left = world.days - arrival
    exposures = 1 + rng.poisson(world.visits * activity * left / world.days)
    unit = np.repeat(np.arange(world.users), exposures)
    first = np.concatenate([[0], np.cumsum(exposures)[:-1]])
    day = arrival[unit] + np.floor(rng.random(len(unit)) * left[unit]).astype(np.int64)
    day[first] = arrival
    cells, row = np.unique(unit * world.days + day, return_inverse=True)
    x = np.bincount(row).astype(np.float64)
    unit, day = cells // world.days, cells % world.days
    weight = np.resize(np.repeat(world.weights, -(-world.days // len(world.weights))), world.days)
    treated = bucket[unit] < weight[day]
    temper = rng.beta(2, 2, world.users) * 2  # a user's own share of bad luck
    chance = world.rate * temper[unit] * activity[unit] ** -world.fading
    chance = np.where((rng.random(world.users) < world.broken)[unit], 1, chance)
    chance = chance * (1 + world.drift * day / world.days) + world.effect * treated
    y = rng.binomial(x.astype(np.int64), np.clip(FEEDBACK * chance, 0, 1)).astype(np.float64)
    return Visits(unit, day, treated, x, y)


def sent(
    rng: np.random.Generator, users: int, images: int, share: float, alike: float
) -> tuple[Ints, Floats]:
    """[images]: who sent each, some a hundred times as much as others, and whether it is a koala.

    Args:
        alike: The intraclass correlation: 0 if the images of a user are independent, 1 if all of
            them show the same animal.
    """
    activity = rng.lognormal(0, 1.2, users)
    unit = rng.choice(users, images, p=activity / activity.sum()) + 1
    if alike == 1:
        own = (rng.random(users) < share).astype(float)
    else:
        precision = (1 - alike) / alike if alike else 1e9
        own = rng.beta(share * precision, (1 - share) * precision, users)
    return unit, (rng.random(images) < own[unit - 1]).astype(float)
