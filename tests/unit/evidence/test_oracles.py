"""The same counts, judged by this project and by other packages.

The answers of GrowthBook's, Spotify's and savvi's packages are recorded, because these cannot be
installed together with this project; see `benchmarks.evidence.answers`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from statsmodels.stats.proportion import confint_proportions_2indep

from benchmarks.evidence import answers, methods
from benchmarks.evidence.answers import QUESTIONS, TABLES, Table
from benchmarks.evidence.methods import Bounds
from benchmarks.evidence.simulation import Counts
from serve_app.evidence import srm
from serve_app.evidence.comparison import Comparison, UnitGroups
from serve_app.evidence.confidence import (
    ALPHA,
    TUNED_FOR,
    confidence_sequence,
    critical_value,
    interval,
)

EXACT = 1e-9
GROWTHBOOK: list[tuple[Table, dict[str, Any]]] = list(
    zip(TABLES, answers.load()["growthbook"]["rows"], strict=True)
)
TUNED_ALIKE = f"tuned for {TUNED_FOR}"
EVENLY_SPLIT = [row for row in GROWTHBOOK if row[0][0] == row[0][2] and row[1][TUNED_ALIKE]]
LOOKS: list[Table] = QUESTIONS["spotify"]["looks"]


def compare(table: Table) -> Comparison:
    control, control_events, treatment, treatment_events = table
    counts = [
        *(control - control_events, control_events),
        *(treatment - treatment_events, treatment_events),
    ]
    arms = UnitGroups(np.zeros(4, np.int64), np.arange(4) >= 2, np.array(counts, np.float64))
    return arms.compare(np.arange(4) % 2 == 1, bounds=(0, 1))


def one_run(tables: list[Table]) -> Counts:
    """A look a table."""
    control, control_events, treatment, treatment_events = np.array(tables, np.float64).T
    return Counts(
        *(column[np.newaxis] for column in (control, control_events, treatment, treatment_events))
    )


def ends(bounds: Bounds) -> list[tuple[float, float]]:
    return list(zip(bounds.low[0].tolist(), bounds.high[0].tolist(), strict=True))


class TestGrowthBook:
    @pytest.mark.parametrize(("table", "answer"), GROWTHBOOK)
    def test_difference_and_variance_are_equal(self, table: Table, answer: dict[str, Any]) -> None:
        """GrowthBook divides the squares of an arm by n, this project by n - 1."""
        found = compare(table)
        variances = (
            p * (1 - p) / (n - 1)
            for n, p in (
                (found.units_control, found.control),
                (found.units_treatment, found.treatment),
            )
        )
        assert found.difference == pytest.approx(answer["difference"], rel=EXACT)
        assert found.variance == pytest.approx(sum(variances), rel=EXACT, abs=1e-15)
        smaller = min(found.units_control, found.units_treatment)
        assert found.variance == pytest.approx(answer["variance"], rel=1.01 / (smaller - 1))

    @pytest.mark.parametrize(("table", "answer"), EVENLY_SPLIT)
    def test_sequence_of_evenly_split_units_is_equal(
        self, table: Table, answer: dict[str, Any]
    ) -> None:
        """With GrowthBook's variance. Of an uneven split, it counts more units."""
        found = compare(table)
        sequence = confidence_sequence(found.difference, answer["variance"], found.units)
        assert (sequence.low, sequence.high) == pytest.approx(answer[TUNED_ALIKE], rel=EXACT)

    @pytest.mark.parametrize(("table", "answer"), EVENLY_SPLIT)
    def test_verdicts_read_a_slightly_wider_interval(
        self, table: Table, answer: dict[str, Any]
    ) -> None:
        """Because of the pseudo-units, which matter less the more units have the event."""
        found = interval(compare(table))
        ratio = (found.high - found.low) / (answer[TUNED_ALIKE][1] - answer[TUNED_ALIKE][0])
        events = table[1] + table[3]
        assert 1 < ratio < 1 + 10 / events

    @pytest.mark.parametrize("tuned_for", QUESTIONS["growthbook"]["tuned_for"])
    def test_simulated_method_is_the_package(self, tuned_for: int) -> None:
        nothing = [-math.inf, math.inf]
        expected = [answer[f"tuned for {tuned_for}"] or nothing for _, answer in GROWTHBOOK]
        found = ends(methods.growthbook(one_run(list(TABLES)), tuned_for))
        assert found == [pytest.approx(row, rel=EXACT) for row in expected]


def test_spotify_simulated_method_is_the_package() -> None:
    expected = answers.load()["spotify"]["rows"]
    found = ends(methods.spotify(one_run(LOOKS)))
    assert found == [pytest.approx(row, rel=1e-6) for row in expected]


def test_z_test_is_that_of_statsmodels() -> None:
    tables = [table for table in TABLES if table[1]]
    for table, found in zip(tables, ends(methods.fixed_horizon(one_run(tables))), strict=True):
        expected = confint_proportions_2indep(
            table[3], table[2], table[1], table[0], method="wald", compare="diff", alpha=ALPHA
        )
        assert found == pytest.approx(expected, rel=EXACT)


def test_srm_evidence_is_that_of_savvi() -> None:
    recorded = answers.load()["savvi"]["rows"]
    for question, odds in zip(QUESTIONS["savvi"]["counts"], recorded, strict=True):
        control, treatment, weight, concentration = question
        found = srm.log_evidence(np.array(control), np.array(treatment), weight, concentration)
        assert float(found) == pytest.approx(math.log(odds), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("units", [10, 500, 20_000])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_critical_value_bounds_the_normal_mixture(units: int, alpha: float) -> None:
    """At the bound, the likelihood ratio of a mean theta of `units` normal variables to a mean of
    0, averaged over theta from a normal distribution, is 1 / alpha (Robbins 1970)."""
    log = -2 * math.log(alpha)
    prior = stats.norm(scale=math.sqrt((log + math.log(1 + log)) / TUNED_FOR))
    total = critical_value(units, alpha) * math.sqrt(units)

    def density(theta: float) -> float:
        return float(math.exp(theta * total - units * theta**2 / 2) * prior.pdf(theta))

    peak = total / units
    mixture, _ = quad(density, -1, 2 * peak + 1, points=[0, peak], limit=500)
    assert mixture == pytest.approx(1 / alpha, rel=1e-6)
