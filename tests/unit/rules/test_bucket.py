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
    ("experiment", "unit", "expected"),
    [
        ("koala-canary", "0123456789abcdef0123456789abcdef", 0.09398669900480239),
        ("koala-canary", "fedcba9876543210fedcba9876543210", 0.08867053601172381),
        ("koala-canary-2", "0123456789abcdef0123456789abcdef", 0.7104260058723814),
        ("x", "é", 0.5911688650769299),
    ],
)
def test_buckets_never_change(experiment: str, unit: str, expected: float) -> None:
    """A change would reassign every user of every running experiment."""
    assert bucket(experiment, unit) == expected


@given(experiments, units)
def test_buckets_are_below_one_and_have_53_bits(experiment: str, unit: str) -> None:
    value = bucket(experiment, unit)
    assert 0 <= value < 1
    assert (value * 2**53).is_integer()


def test_buckets_are_uniform() -> None:
    """Kolmogorov-Smirnov test of 100,000 units; a good hash fails it once in a million."""
    buckets = [bucket("uniform", str(unit)) for unit in range(100_000)]
    assert stats.kstest(buckets, "uniform").pvalue > 1e-6


def test_buckets_of_different_experiments_are_independent() -> None:
    """Chi-squared test of a 10 by 10 table; a good hash fails it once in a million."""
    names = ["koala-1", "koala-2", "koala-3", "1-koala"]
    buckets = {name: [bucket(name, str(unit)) for unit in range(50_000)] for name in names}
    for one, other in pairwise(names):
        table, _, _ = np.histogram2d(buckets[one], buckets[other], bins=10, range=[[0, 1]] * 2)
        assert stats.chi2_contingency(table).pvalue > 1e-6
