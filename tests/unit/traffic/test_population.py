"""Draws follow the scenario: counts lie within the 99.99 % interval of the binomial."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from serve_app.http.data.feedback import FeedbackBody
from serve_app.traffic.population import (
    Population,
    draw_feedback,
    draw_population,
    is_lost,
    label_shares,
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


def assert_share(values: object, share: float) -> None:
    """The share of True values is consistent with an expected share."""
    array = np.asarray(values)
    low, high = binom.interval(0.9999, array.size, share)
    assert array.size > 100
    assert low <= array.sum() <= high, f"{array.mean():.4f} of {array.size}: expected {share}"


def test_the_same_seed_draws_the_same_population(
    scenario: Scenario, population: Population
) -> None:
    again, other = draw_population(scenario, seed=1), draw_population(scenario, seed=2)
    for field in fields(Population):
        assert np.array_equal(getattr(population, field.name), getattr(again, field.name))
    assert not np.array_equal(population.user, other.user)


def test_feedback_and_losses_do_not_change_the_requests(population: Population) -> None:
    other = draw_population(parse_scenario(CONTENT | {"feedback": None, "lost": {}}), seed=1)
    assert np.array_equal(population.true_label, other.true_label)
    assert np.array_equal(population.user, other.user)


def test_users_live_in_the_regions_of_the_scenario(
    scenario: Scenario, population: Population
) -> None:
    for code, share in enumerate(scenario.regions.values()):
        assert_share(population.region == code, share)


def test_the_last_matching_entry_gives_the_labels(population: Population) -> None:
    country, is_evening = population.region[population.user], np.isin(population.hour, (7, 8))
    au, de, nz = (country == population.regions.index(code) for code in ("AU", "DE", "NZ"))
    koala, dog = (
        population.true_label == population.labels.index(label) for label in ("koala", "dog")
    )
    assert not koala[de].any()
    assert koala[au & is_evening].all()
    assert_share(koala[au & ~is_evening], 0.5)
    assert_share(koala[nz], 0.5)
    assert_share(dog[nz], 0.3)
    assert_share(dog[de], 0.4)


def test_label_shares_sum_to_one(scenario: Scenario) -> None:
    shares = label_shares(scenario)
    assert shares.shape == (3, 24, 3)
    assert np.allclose(shares.sum(axis=2), 1)


def test_requests_are_spread_over_the_day_in_order(population: Population) -> None:
    assert (np.diff(population.day_fraction) >= 0).all()
    assert 0 <= population.day_fraction[0] < population.day_fraction[-1] < 1
    for hour in range(24):
        assert_share(population.hour == hour, 1 / 24)


def test_activity_differs_between_users(population: Population) -> None:
    """Lognormal with sigma 1: a tenth of the users sends 39 % of the requests, Φ(1 - 1.28)."""
    counts = np.sort(np.bincount(population.user, minlength=2_000))[::-1]
    assert 0.8 < (counts > 1).mean() < 0.9  # 0.86 for this activity
    assert 0.33 < counts[:200].sum() / 20_000 < 0.46
    uniform = draw_population(parse_scenario(CONTENT | {"activity_sigma": 0}), seed=1)
    counts = np.sort(np.bincount(uniform.user, minlength=2_000))[::-1]
    assert counts[:200].sum() / 20_000 < 0.18


def test_with_one_pet_all_images_of_a_user_have_one_label() -> None:
    pets = draw_population(parse_scenario(CONTENT | {"one_pet": True}), seed=1)
    in_de = pets.region[pets.user] == pets.regions.index("DE")  # the same shares all day
    labels_by_user = [
        np.unique(pets.true_label[in_de & (pets.user == user)]) for user in range(300)
    ]
    assert max(map(len, labels_by_user)) == 1
    labels = np.concatenate(labels_by_user)
    assert_share(labels == pets.labels.index("dog"), 0.4)


def test_only_users_of_the_named_version_are_lost(
    scenario: Scenario, population: Population
) -> None:
    assert_share([is_lost(scenario, population, user, "v2") for user in range(2_000)], 0.1)
    assert not any(is_lost(scenario, population, user, "v1") for user in range(2_000))


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
def test_complaints_have_the_probability_of_the_scenario(
    scenario: Scenario, population: Population, label: str, version: str | None, share: float
) -> None:
    assert scenario.feedback
    drawn = [
        draw_feedback(scenario.feedback, "cat", label, version, feedback_draw, complaint_draw)
        for feedback_draw, complaint_draw in zip(
            population.feedback_draw.tolist(), population.complaint_draw.tolist(), strict=True
        )
    ]
    feedback = [entry for entry in drawn if entry is not None]
    assert_share([entry is not None for entry in drawn], 0.4)
    assert_share([entry["complaint"] for entry in feedback], share)
    assert {entry["label"] for entry in feedback} == {"cat"}


@pytest.mark.parametrize("tells_truth", [True, False])
def test_drawn_feedback_is_a_valid_request_body(tells_truth: bool) -> None:
    content = CONTENT["feedback"] | {"tells_truth": tells_truth}
    habits = FeedbackHabits.model_validate(content)
    feedback = draw_feedback(habits, "koala", "dog", "v1", np.float64(0.1), np.float64(0.2))
    body = FeedbackBody.model_validate({"prediction_id": "p", **(feedback or {})})
    assert body.complaint is True
    assert body.label == ("koala" if tells_truth else None)
