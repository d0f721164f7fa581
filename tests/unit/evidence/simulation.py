"""Simulated units of a canary, and images of users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from serve_app.clock import DAY_MS
from serve_app.evidence.canary import CanaryUnits
from serve_app.evidence.comparison import Comparison, UnitGroups
from serve_app.evidence.units import Floats, Ints, strata


@dataclass(frozen=True, slots=True)
class Shares:
    """New units on each day, of which a share has a failure. There is a look at the end of a day.

    Attributes:
        daily: The mean number of new units.
        control: The share with a failure in control.
        effect: Added to it in treatment.
        weights: Of treatment, in consecutive periods of about equal length.
        trend: Relative change of the share in control over all days.
    """

    daily: int
    control: float
    effect: float = 0.0
    weights: tuple[float, ...] = (0.5,)
    days: int = 30
    trend: float = 0.0

    def looks(self, rng: np.random.Generator) -> Iterator[Comparison]:
        """The comparison at each look, within days of the same weight."""
        day = np.arange(self.days)
        period = day * len(self.weights) // self.days
        treatment = rng.binomial(
            units := rng.poisson(self.daily, self.days), np.array(self.weights)[period]
        )
        sizes = np.column_stack([units - treatment, treatment])
        share = self.control * (1 + self.trend * day / self.days)
        failed = rng.binomial(sizes, np.column_stack([share, share + self.effect]))
        count = np.stack([sizes - failed, failed], axis=2).astype(np.float64)  # [days, arms, 2]
        for look in range(1, self.days + 1):
            rows = 4 * look
            treated = np.tile([False, False, True, True], look)
            counts = count[:look].ravel()
            stratum = strata(
                np.repeat(period[:look], 4), np.repeat(day[:look], 4), treated, count=counts
            )
            groups = UnitGroups(stratum, treated, counts)
            yield groups.compare(np.arange(rows) % 2 == 1, (0, 1))


@dataclass(frozen=True, slots=True)
class Users:
    """Users with a heavy-tailed number of exposures, and users with a broken camera.

    Attributes:
        users: Number of users, each arrives on some day.
        visits: Median of the expected further exposures of a user.
        tail: Sigma of the lognormal activity; 1 gives a mean of 1.6 times the median.
        failures: The failure probability of an exposure.
        broken: Share of users with a broken camera: each of their exposures fails. In treatment,
            it is broken_treatment.
        leaving: Whether treatment's users leave after their first failure.
    """

    users: int
    days: int = 30
    visits: float = 2.0
    tail: float = 1.0
    failures: float = 0.0
    broken: float = 0.1
    broken_treatment: float = 0.1
    leaving: bool = False
    weight: float = 0.5

    def draw(self, rng: np.random.Generator) -> CanaryUnits:
        """Users in the order of their arrival. Latencies are those of the user's connection."""
        treated = rng.random(self.users) < self.weight
        activity = rng.lognormal(0, self.tail, self.users)
        exposures = 1 + rng.poisson(self.visits * activity)
        is_broken = rng.random(self.users) < np.where(treated, self.broken_treatment, self.broken)
        probability = np.where(is_broken, 1.0, self.failures)
        if self.leaving:
            until_failure = rng.geometric(np.maximum(probability, 1e-9))
            exposures = np.where(treated, np.minimum(exposures, until_failure), exposures)
            errors = np.where(
                treated, exposures == until_failure, rng.binomial(exposures, probability)
            )
        else:
            errors = rng.binomial(exposures, probability)
        level_ms = rng.lognormal(4, 1, self.users)
        return CanaryUnits(
            at_ms=np.sort(rng.integers(0, self.days, self.users)) * DAY_MS,
            weight=np.full(self.users, self.weight),
            treated=treated,
            region=np.full(self.users, ""),
            exposures=exposures.astype(np.float64),
            errors=errors.astype(np.float64),
            latency_ms=level_ms * rng.gamma(4 * exposures, 0.25),
            max_latency_ms=np.zeros(self.users),
            model_count=exposures.astype(np.float64),
            model_ms=rng.gamma(20 * exposures, 0.5),
            later_exposures=rng.poisson(activity).astype(np.float64),
            is_later_known=np.ones(self.users, np.bool_),
        )

    def looks(self, rng: np.random.Generator, every: int) -> Iterator[CanaryUnits]:
        """The users at the end of every nth day."""
        units = self.draw(rng)
        for day in range(every, self.days + 1, every):
            yield units.select(units.at_ms < day * DAY_MS)


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
