"""The sequential McNemar test, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from serve_app.evidence.paired import compare_paired, discordant_to_decide

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


@pytest.mark.parametrize("share", [0.55, 0.6, 0.75, 0.9, 1.0])
def test_needed_images_are_the_first_that_decide(share: float) -> None:
    needed = discordant_to_decide(share)
    assert needed is not None

    def p(count: int) -> float:
        k = share * count
        log_p = count * np.log(0.5) - special.betaln(1 + k, 1 + count - k)
        return float(np.exp(log_p))

    assert p(needed) < 0.05 < min(p(count) for count in range(1, needed))
    assert discordant_to_decide(1 - share) == pytest.approx(needed, abs=1)


def test_equal_shares_are_never_decided() -> None:
    assert discordant_to_decide(0.5) is None
    assert discordant_to_decide(0.501) is None
