from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from serve_app.rules.bucket import bucket

experiments = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
units = st.text(min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("experiment", "unit", "place"),
    [
        ("koala-canary", "0123456789abcdef0123456789abcdef", 0.09398669900480239),
        ("koala-canary", "fedcba9876543210fedcba9876543210", 0.08867053601172381),
        ("koala-canary-2", "0123456789abcdef0123456789abcdef", 0.7104260058723814),
        ("x", "é", 0.5911688650769299),
    ],
)
def test_a_place_never_changes(experiment: str, unit: str, place: float) -> None:
    """If this fails, every user of every running experiment is assigned anew."""
    assert bucket(experiment, unit) == place


@given(experiments, units)
def test_a_place_is_below_one_and_exact_to_53_bits(experiment: str, unit: str) -> None:
    place = bucket(experiment, unit)
    assert 0 <= place < 1
    assert (place * 2**53).is_integer()


def test_places_are_uniform() -> None:
    """Kolmogorov-Smirnov over 100,000 units; fails for one in a million good hashes."""
    places = [bucket("uniform", str(unit)) for unit in range(100_000)]
    assert stats.kstest(places, "uniform").pvalue > 1e-6


def test_experiments_are_independent() -> None:
    """Chi-squared of a 10 by 10 table, neighbours by name; likewise one in a million."""
    names = ["koala-1", "koala-2", "koala-3", "1-koala"]
    places = {name: [bucket(name, str(unit)) for unit in range(50_000)] for name in names}
    for one, other in pairwise(names):
        table, _, _ = np.histogram2d(places[one], places[other], bins=10, range=[[0, 1]] * 2)
        assert stats.chi2_contingency(table).pvalue > 1e-6
