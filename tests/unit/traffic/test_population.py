"""What is drawn is what the scenario says: counts lie within the binomial's 99.99 % interval."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from serve_app.http.feedback import FeedbackBody
from serve_app.traffic.population import (
    Population,
    draw_feedback,
    draw_population,
    is_lost,
    photograph_shares,
)
from serve_app.traffic.scenario import FeedbackHabits, Scenario, parse_scenario

CONTENT: dict[str, Any] = {
    "name": "some",
    "requests": 20_000,
    "users": 2_000,
    "activity_sigma": 1.0,
    "regions": {"AU": 0.3, "DE": 0.5, "NZ": 0.2},
    "photographs": [
        {"shares": {"cat": 0.6, "dog": 0.4}},
        {"shares": {"cat": 0.2, "dog": 0.3, "koala": 0.5}, "regions": ["australia-pacific"]},
        {"shares": {"koala": 1.0}, "regions": ["AU"], "hours": [7, 8]},
    ],
    "feedback": {
        "coverage": 0.4,
        "complaint": {"wrong": 0.5, "right": 0.1},
        "complaint_extra": {"v2": 0.2},
        "tells_truth": True,
    },
    "lost": {"v2": 0.1},
}


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return parse_scenario(CONTENT)


@pytest.fixture(scope="module")
def population(scenario: Scenario) -> Population:
    return draw_population(scenario, seed=1)


def assert_share(hits: object, share: float) -> None:
    """The share of True in an array is what was planted."""
    array = np.asarray(hits)
    low, high = binom.interval(0.9999, array.size, share)
    assert array.size > 100
    assert low <= array.sum() <= high, f"{array.mean():.4f} of {array.size}: planted {share}"


def test_the_same_seed_draws_the_same_crowd(scenario: Scenario, population: Population) -> None:
    again, other = draw_population(scenario, seed=1), draw_population(scenario, seed=2)
    for field in fields(Population):
        assert np.array_equal(getattr(population, field.name), getattr(again, field.name))
    assert not np.array_equal(population.user, other.user)


def test_what_users_say_does_not_change_what_they_ask(population: Population) -> None:
    other = draw_population(parse_scenario(CONTENT | {"feedback": None, "lost": {}}), seed=1)
    assert np.array_equal(population.truth, other.truth)
    assert np.array_equal(population.user, other.user)


def test_users_live_where_the_scenario_says(scenario: Scenario, population: Population) -> None:
    for code, share in enumerate(scenario.regions.values()):
        assert_share(population.region == code, share)


def test_the_last_part_that_fits_says_what_is_photographed(population: Population) -> None:
    home, evening = population.region[population.user], np.isin(population.hour, (7, 8))
    au, de, nz = (home == population.regions.index(code) for code in ("AU", "DE", "NZ"))
    koala, dog = (population.truth == population.labels.index(label) for label in ("koala", "dog"))
    assert not koala[de].any()
    assert koala[au & evening].all()
    assert_share(koala[au & ~evening], 0.5)
    assert_share(koala[nz], 0.5)
    assert_share(dog[nz], 0.3)
    assert_share(dog[de], 0.4)


def test_the_table_of_shares_is_one_distribution_a_row(scenario: Scenario) -> None:
    shares = photograph_shares(scenario)
    assert shares.shape == (3, 24, 3)
    assert np.allclose(shares.sum(axis=2), 1)


def test_requests_come_all_day_in_the_order_of_time(population: Population) -> None:
    assert (np.diff(population.at) >= 0).all()
    assert 0 <= population.at[0] < population.at[-1] < 1
    for hour in range(24):
        assert_share(population.hour == hour, 1 / 24)


def test_users_come_again_and_some_more_than_others(population: Population) -> None:
    """Lognormal with sigma 1: a tenth of the users asks 39 % of the requests, Φ(1 - 1.28)."""
    counts = np.sort(np.bincount(population.user, minlength=2_000))[::-1]
    assert 0.8 < (counts > 1).mean() < 0.9  # 0.86: ten requests each, were all alike
    assert 0.33 < counts[:200].sum() / 20_000 < 0.46
    alike = draw_population(parse_scenario(CONTENT | {"activity_sigma": 0}), seed=1)
    counts = np.sort(np.bincount(alike.user, minlength=2_000))[::-1]
    assert counts[:200].sum() / 20_000 < 0.18


def test_a_user_may_have_one_pet() -> None:
    pets = draw_population(parse_scenario(CONTENT | {"one_pet": True}), seed=1)
    away = pets.region[pets.user] == pets.regions.index("DE")  # the same shares all day
    of_user = [np.unique(pets.truth[away & (pets.user == user)]) for user in range(300)]
    assert max(map(len, of_user)) == 1
    owners = np.concatenate(of_user)
    assert_share(owners == pets.labels.index("dog"), 0.4)


def test_only_users_of_the_named_version_are_lost(
    scenario: Scenario, population: Population
) -> None:
    never_arrives = is_lost(scenario, population)
    assert_share([never_arrives(user, "v2") for user in range(2_000)], 0.1)
    assert not any(never_arrives(user, "v1") for user in range(2_000))


@pytest.mark.parametrize(
    ("label", "version", "share"),
    [
        ("cat", "v1", 0.1),
        ("dog", "v1", 0.5),
        ("cat", "v2", 0.3),
        ("dog", "v2", 0.7),
        ("cat", None, 0.1),
    ],
)
def test_complaints_are_as_planted(
    scenario: Scenario, population: Population, label: str, version: str | None, share: float
) -> None:
    assert scenario.feedback
    said = [
        draw_feedback(scenario.feedback, "cat", label, version, says, complains)
        for says, complains in zip(
            population.says.tolist(), population.complains.tolist(), strict=True
        )
    ]
    words = [word for word in said if word is not None]
    assert_share([word is not None for word in said], 0.4)
    assert_share([word["complaint"] for word in words], share)
    assert {word["label"] for word in words} == {"cat"}


@pytest.mark.parametrize("tells_truth", [True, False])
def test_what_is_said_is_feedback_that_the_service_takes(tells_truth: bool) -> None:
    content = CONTENT["feedback"] | {"tells_truth": tells_truth}
    habits = FeedbackHabits.model_validate(content)
    said = draw_feedback(habits, "koala", "dog", "v1", np.float64(0.1), np.float64(0.2))
    body = FeedbackBody.model_validate({"prediction_id": "p", **(said or {})})
    assert body.complaint is True
    assert body.label == ("koala" if tells_truth else None)
