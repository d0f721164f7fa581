"""SRM, against scipy and examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from serve_app.evidence.srm import (
    CONCENTRATIONS,
    SRM_ALPHA,
    SrmCounts,
    check,
    check_slices,
    log_evidence,
    sum_slices,
)

units = st.integers(0, 2000)


def evidence(counts: SrmCounts, concentration: float) -> float:
    """The Dirichlet-multinomial over the multinomial, by scipy."""
    x, n = np.array([counts.control, counts.treatment]), counts.control + counts.treatment
    shares = np.array([1 - counts.weight, counts.weight])
    return float(
        stats.dirichlet_multinomial.logpmf(x, concentration * shares, np.array(n))
        - stats.multinomial.logpmf(x, n, shares)
    )


@given(units, units, st.floats(0.01, 0.99), st.sampled_from(CONCENTRATIONS))
def test_evidence_is_that_of_scipy(
    control: int, treatment: int, weight: float, concentration: float
) -> None:
    found = log_evidence(np.array(control), np.array(treatment), weight, concentration)
    expected = evidence(SrmCounts(1, control, treatment, weight), concentration)
    assert float(found) == pytest.approx(expected, rel=1e-8, abs=1e-7)


def test_evidence_is_multiplied_over_epochs_and_averaged_over_concentrations() -> None:
    epochs = [SrmCounts(1, 950, 60, 0.05), SrmCounts(2, 640, 380, 0.4)]
    total = np.mean([math.exp(sum(evidence(e, c) for e in epochs)) for c in CONCENTRATIONS])
    found = check(epochs)
    assert found.p == pytest.approx(min(1, 1 / total), rel=1e-8)
    assert (found.control, found.treatment) == (1590, 440)
    assert found.expected == pytest.approx(0.05 * 1010 + 0.4 * 1020)


def test_a_changed_weight_is_no_mismatch() -> None:
    """Treatment has 30 % of the units of both epochs; neither weight is 30 %."""
    assert check([SrmCounts(1, 9000, 1000, 0.1), SrmCounts(2, 5000, 5000, 0.5)]).p == 1
    assert check([SrmCounts(1, 14_000, 6000, 0.1)]).is_invalid


@pytest.mark.parametrize(
    ("counts", "is_invalid"),
    [
        (SrmCounts(1, 0, 0, 0.5), False),
        (SrmCounts(1, 5000, 5000, 0.5), False),
        (SrmCounts(1, 5150, 4850, 0.5), False),  # chi-square has p = 0.003
        (SrmCounts(1, 5200, 4800, 0.5), True),
        (SrmCounts(1, 30, 70, 0.5), True),  # a large mismatch in few units
        (SrmCounts(1, 100, 0, 0), False),
        (SrmCounts(1, 100, 1, 0), True),  # treatment has the weight 0
        (SrmCounts(1, 1, 100, 1), True),
    ],
)
def test_examples_of_counts(counts: SrmCounts, is_invalid: bool) -> None:
    assert check([counts]).is_invalid is is_invalid


def test_without_epochs_there_is_no_mismatch() -> None:
    found = check([])
    assert (found.p, found.is_invalid) == (1, False)


@given(units, units, st.floats(0.05, 0.95))
def test_swapped_arms_have_the_same_p(control: int, treatment: int, weight: float) -> None:
    one = check([SrmCounts(1, control, treatment, weight)])
    other = check([SrmCounts(1, treatment, control, 1 - weight)])
    assert one.p == pytest.approx(other.p, rel=1e-6)
    assert 0 <= one.p <= 1


def test_slices_are_bonferroni_corrected() -> None:
    slices = {f"{n}": [SrmCounts(1, 500, 500, 0.5)] for n in range(9)}
    slices["AU"] = [SrmCounts(1, 500, 640, 0.5)]
    found = check_slices(slices)
    uncorrected = check(slices["AU"])
    assert found["AU"].p == pytest.approx(10 * uncorrected.p)
    assert uncorrected.p < SRM_ALPHA < found["AU"].p
    assert found["0"].p == 1


@pytest.mark.parametrize("counts", [(-1, 0, 0.5), (0, -1, 0.5), (0, 0, 1.5)])
def test_counts_out_of_range_are_rejected(counts: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="epoch 3 has"):
        SrmCounts(3, *counts)


@given(st.lists(st.tuples(st.sampled_from(["AU", "NZ"]), st.integers(1, 3), units, units)))
def test_all_slices_together_have_the_units_of_each_epoch(
    rows: list[tuple[str, int, int, int]],
) -> None:
    slices: dict[str, list[SrmCounts]] = {}
    for name, epoch, control, treatment in rows:
        slices.setdefault(name, []).append(SrmCounts(epoch, control, treatment, epoch / 10))
    total = {counts.epoch: counts for counts in sum_slices(slices)}
    for epoch in (1, 2, 3):
        own = [row for row in rows if row[1] == epoch]
        expected = SrmCounts(
            epoch, sum(row[2] for row in own), sum(row[3] for row in own), epoch / 10
        )
        assert total.get(epoch, SrmCounts(epoch, 0, 0, epoch / 10)) == expected
