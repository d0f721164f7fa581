"""The sequential McNemar test, against scipy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from serve_app.evidence.paired import compare_paired

counts = st.integers(0, 400)


@given(counts, counts)
def test_p_is_the_binomial_over_the_beta_binomial(stable: int, candidate: int) -> None:
    n = stable + candidate
    expected = stats.binom.pmf(candidate, n, 0.5) / stats.betabinom.pmf(candidate, n, 1, 1)
    assert compare_paired(stable, candidate).p == pytest.approx(min(1, expected), rel=1e-7)


@given(counts, counts)
def test_interval_and_p_agree(stable: int, candidate: int) -> None:
    found = compare_paired(stable, candidate)
    assert (found.better is None) == (0.5 in found.share.interval)
    if found.better:
        assert found.better == ("candidate" if candidate > stable else "stable")


@given(counts, counts)
def test_p_is_at_least_that_of_the_exact_mcnemar_test(stable: int, candidate: int) -> None:
    """The exact McNemar test is valid for one look only."""
    exact = stats.binomtest(candidate, stable + candidate).pvalue if stable + candidate else 1
    assert compare_paired(stable, candidate).p >= 0.99 * exact


def test_p_by_hand() -> None:
    """The candidate is right on ten of ten images: 2^-10 * 11 = 0.0107."""
    found = compare_paired(0, 10)
    assert found.p == pytest.approx(11 / 1024)
    assert (found.better, found.share.estimate) == ("candidate", 1)
    assert compare_paired(0, 10, alpha=0.01).better is None


def test_without_reviews_p_is_1() -> None:
    found = compare_paired(0, 0)
    assert (found.p, found.better, found.share.estimate) == (1, None, None)
