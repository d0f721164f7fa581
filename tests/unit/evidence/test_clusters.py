"""How much the images of one unit tell, by hand and by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.clusters import NOBODY, by_unit, design_effect, images_per_unit
from tests.unit.evidence.simulation import sent


def effect(*rows: tuple[int, float, float]) -> float:
    """Of unit, trials, successes."""
    unit, trials, successes = zip(*rows, strict=True)
    return design_effect(np.array(unit), np.array(trials, float), np.array(successes, float))


def test_an_image_of_a_user_who_sends_much_is_one_of_many() -> None:
    """One user sent 9 images in two rows, another one: of ten images, nine are one of nine."""
    assert images_per_unit(np.array([7, 7, 8]), np.array([4.0, 5.0, 1.0])) == pytest.approx(8.2)
    assert images_per_unit(np.array([1, 2]), np.array([1.0, 1.0])) == 1
    assert images_per_unit(np.array([NOBODY]), np.array([50.0])) == 1
    assert images_per_unit(np.array([], int), np.array([])) == 1


def test_by_unit() -> None:
    named, (one, other) = by_unit(
        np.array([8, NOBODY, 7, 8]), np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 1.0, 1.0])
    )
    assert (named.tolist(), one.tolist(), other.tolist()) == ([1, 0, 1, 1], [3, 5], [1, 2])


def test_independent_images_have_none() -> None:
    assert effect((NOBODY, 1000, 300)) == pytest.approx(1, abs=0.01)
    unit, koala = sent(np.random.default_rng(1), 5_000, 20_000, 0.3, alike=0)
    assert design_effect(unit, np.ones(len(unit)), koala) == pytest.approx(1, abs=0.1)


def test_users_with_one_animal_count_as_one_each() -> None:
    """Forty users with 25 images each, a quarter of them of koalas."""
    rows = [(n, 25, 25 * (n % 4 == 0)) for n in range(1, 41)]
    assert effect(*rows) == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize("successes", [0, 25])
def test_without_any_difference_nobody_knows_how_alike_they_are(successes: int) -> None:
    assert effect(*((n, 25, successes) for n in range(1, 41))) == pytest.approx(25, rel=0.05)


def test_differences_inside_of_units_tell() -> None:
    """One koala in the images of each user: they are not alike at all."""
    found = [effect(*((n, 25, n <= koalas) for n in range(1, 401))) for koalas in (0, 10, 100, 400)]
    assert found[0] == pytest.approx(25, rel=0.01)
    assert sorted(found, reverse=True) == found
    assert found[-1] < 2.5


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30), st.integers(0, 30)), max_size=20))
def test_rows_of_a_unit_add_up_and_it_is_never_below_1(rows: list[tuple[int, int, int]]) -> None:
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
