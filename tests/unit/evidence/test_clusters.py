"""Design effects, against worked examples and simulated images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.clusters import NO_UNIT, design_effect, images_per_unit, sum_by_unit
from tests.unit.evidence.simulation import draw_images


def effect(*rows: tuple[int, float, float]) -> float:
    """The design effect of rows of unit, trials, successes."""
    unit, trials, successes = zip(*rows, strict=True)
    return design_effect(np.array(unit), np.array(trials, float), np.array(successes, float))


def test_images_per_unit_is_the_mean_over_images() -> None:
    """One user has 9 images in two rows, another user 1: (9 * 9 + 1) / 10."""
    assert images_per_unit(np.array([7, 7, 8]), np.array([4.0, 5.0, 1.0])) == pytest.approx(8.2)
    assert images_per_unit(np.array([1, 2]), np.array([1.0, 1.0])) == 1
    assert images_per_unit(np.array([NO_UNIT]), np.array([50.0])) == 1
    assert images_per_unit(np.array([], int), np.array([])) == 1


def test_sum_by_unit() -> None:
    has_unit, (one, other) = sum_by_unit(
        np.array([8, NO_UNIT, 7, 8]), np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 1.0, 1.0])
    )
    assert (has_unit.tolist(), one.tolist(), other.tolist()) == ([1, 0, 1, 1], [3, 5], [1, 2])


def test_independent_images_have_no_design_effect() -> None:
    assert effect((NO_UNIT, 1000, 300)) == pytest.approx(1, abs=0.01)
    unit, koala = draw_images(np.random.default_rng(1), 5_000, 20_000, 0.3, correlation=0)
    assert design_effect(unit, np.ones(len(unit)), koala) == pytest.approx(1, abs=0.1)


def test_perfectly_correlated_units_have_a_design_effect_of_their_size() -> None:
    """Forty users with 25 images each, all koalas or none."""
    rows = [(n, 25, 25 * (n % 4 == 0)) for n in range(1, 41)]
    assert effect(*rows) == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize("successes", [0, 25])
def test_identical_outcomes_have_the_largest_design_effect(successes: int) -> None:
    assert effect(*((n, 25, successes) for n in range(1, 41))) == pytest.approx(25, rel=0.05)


def test_differences_within_units_lower_the_design_effect() -> None:
    """One koala among the 25 images of each of the first users."""
    found = [effect(*((n, 25, n <= koalas) for n in range(1, 401))) for koalas in (0, 10, 100, 400)]
    assert found[0] == pytest.approx(25, rel=0.01)
    assert sorted(found, reverse=True) == found
    assert found[-1] < 2.5


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30), st.integers(0, 30)), max_size=20))
def test_design_effect_is_at_least_1_and_independent_of_row_splits(
    rows: list[tuple[int, int, int]],
) -> None:
    rows = [(unit, trials, min(trials, hits)) for unit, trials, hits in rows]
    if not rows:
        return
    whole, halves = effect(*rows), effect(*[(u, t / 2, s / 2) for u, t, s in rows] * 2)
    assert whole == pytest.approx(halves, rel=1e-9)
    assert whole >= 1
    assert whole == pytest.approx(effect(*[(u, t, t - s) for u, t, s in rows]), rel=1e-9)


def test_more_successes_than_trials_are_rejected() -> None:
    with pytest.raises(ValueError, match="more successes than trials"):
        effect((1, 1, 2))
