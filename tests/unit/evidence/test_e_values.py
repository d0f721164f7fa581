"""E-values, against exact fractions, exact expectations and numerical optimisation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar

from serve_app.evidence import e_values
from serve_app.evidence.e_values import (
    MAX_E_VALUE,
    ODDS_RATIOS,
    SHARES,
    GateCell,
    above_limit_e_value,
    below_limit_e_value,
    harm_e_value,
    non_inferiority_e_value,
)

Counts = tuple[int, int, int, int]  # control's units, its events, treatment's units, its events
WEIGHTS = (Fraction(1, 20), Fraction(1, 4))
MARGINS = (0.01, 0.05, 0.3)
capped = pytest.approx(MAX_E_VALUE)

weights = st.floats(0.01, 0.99)
margins = st.floats(0.005, 0.5)
arms = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted)
counts = st.tuples(arms, arms).map(lambda both: (both[0][1], both[0][0], both[1][1], both[1][0]))


def cells(by_weight: dict[float, Counts]) -> GateCell:
    columns = np.array(list(by_weight.values()), np.float64).reshape(-1, 4).T
    return GateCell(np.array(list(by_weight), np.float64), *columns)


def one_cell(weight: float, found: Counts) -> GateCell:
    return cells({weight: found})


class TestHarm:
    @pytest.mark.parametrize(
        ("control_events", "treatment_events"),
        [((0, 0), (1, 0)), ((3, 1), (2, 4)), ((9, 5), (0, 1))],
    )
    def test_e_value_is_the_product_of_likelihood_ratios(
        self, control_events: Sequence[int], treatment_events: Sequence[int]
    ) -> None:
        total = Fraction(0)
        for ratio in ODDS_RATIOS.tolist():
            r, product = Fraction(ratio), Fraction(1)
            for w, k_c, k_t in zip(WEIGHTS, control_events, treatment_events, strict=True):
                q = w * r / (1 - w + w * r)
                product *= (q / w) ** k_t * ((1 - q) / (1 - w)) ** k_c
            total += product / len(ODDS_RATIOS)
        columns = zip(WEIGHTS, control_events, treatment_events, strict=True)
        found = harm_e_value(cells({float(w): (20, k_c, 10, k_t) for w, k_c, k_t in columns}))
        assert float(found) == pytest.approx(float(total), rel=1e-12)

    def test_mean_is_1_at_equal_rates_and_lower_with_fewer_events_in_treatment(self) -> None:
        """Seven events at one weight and four at another, split in all ways."""
        mean = {}
        for relative in (0.5, 1.0):
            mean[relative] = 0.0
            for split in itertools.product(range(8), range(5)):
                probability, by_weight = 1.0, {}
                for weight, events, k in zip((0.05, 0.25), (7, 4), split, strict=True):
                    share = weight * relative / (1 - weight + weight * relative)
                    probability *= stats.binom.pmf(k, events, share)
                    by_weight[weight] = (events, events - k, events, k)
                mean[relative] += probability * float(harm_e_value(cells(by_weight)))
        assert mean[1] == pytest.approx(1, rel=1e-12)
        assert mean[0.5] < 0.5

    @given(weights, counts)
    def test_an_event_in_treatment_is_evidence_and_one_in_control_is_against_it(
        self, weight: float, found: Counts
    ) -> None:
        control, control_events, treatment, treatment_events = found
        here, more, less = (
            float(harm_e_value(one_cell(weight, (control + c, control_events + c, treatment + t,
                                                 treatment_events + t))))
            for c, t in ((0, 0), (0, 1), (1, 0))
        )  # fmt: skip
        assert less < here or less == here in (0, capped)
        assert more > here or more == here in (0, capped)

    @given(weights, counts, st.integers(0, 1000))
    def test_units_without_an_event_do_not_enter(
        self, weight: float, found: Counts, more: int
    ) -> None:
        control, control_events, treatment, treatment_events = found
        larger = (control + more, control_events, treatment + 2 * more, treatment_events)
        assert harm_e_value(one_cell(weight, larger)) == harm_e_value(one_cell(weight, found))

    def test_units_of_treatment_that_all_fail(self) -> None:
        """Stable never fails: evidence of 50 after two units at 5 %, after seven at 50 %."""
        needed = {
            weight: next(
                n for n in range(1, 20) if harm_e_value(one_cell(weight, (90, 0, n, n))) >= 50
            )
            for weight in (0.05, 0.1, 0.25, 0.5)
        }
        assert needed == {0.05: 2, 0.1: 3, 0.25: 4, 0.5: 7}


def edge_mean(margin: float, share: float, units: int) -> float:
    """The mean of the e-value over all outcomes of units at two weights, at the given share in
    control and that plus the margin in treatment."""
    mean = 0.0
    outcomes = [(treated, event) for treated in (0, 1) for event in (0, 1)]
    for drawn in itertools.product(outcomes, repeat=units):
        probability = 1.0
        by_weight: dict[float, list[int]] = {float(w): [0, 0, 0, 0] for w in WEIGHTS}
        for number, (treated, event) in enumerate(drawn):
            weight = float(WEIGHTS[number % 2])
            p = share + treated * margin
            probability *= (weight if treated else 1 - weight) * (p if event else 1 - p)
            by_weight[weight][2 * treated] += 1
            by_weight[weight][2 * treated + 1] += event
        found = cells({w: (n[0], n[1], n[2], n[3]) for w, n in by_weight.items()})
        mean += probability * float(non_inferiority_e_value(found, margin))
    return mean


class TestNonInferiority:
    @pytest.mark.parametrize("margin", MARGINS)
    @pytest.mark.parametrize("share", [0.0, 0.02, 0.4, None])
    def test_mean_at_the_margin_is_1(self, margin: float, share: float | None) -> None:
        """Over all 256 outcomes of four units; None is the largest share."""
        assert edge_mean(margin, 1 - margin if share is None else share, 4) == pytest.approx(1)

    @given(weights, margins, st.floats(0, 1), st.floats(0, 1))
    def test_mean_beyond_the_margin_is_at_most_1(
        self, weight: float, margin: float, control: float, excess: float
    ) -> None:
        p_c = control * (1 - margin)
        p_t = min(1.0, p_c + margin + excess * (1 - p_c - margin))
        outcomes: dict[Counts, float] = {
            (1, 0, 0, 0): (1 - weight) * (1 - p_c),
            (1, 1, 0, 0): (1 - weight) * p_c,
            (0, 0, 1, 0): weight * (1 - p_t),
            (0, 0, 1, 1): weight * p_t,
        }
        mean = sum(
            probability * float(non_inferiority_e_value(one_cell(weight, found), margin))
            for found, probability in outcomes.items()
        )
        assert mean <= 1 + 1e-9

    @given(weights, margins, counts)
    def test_e_value_is_that_of_the_nearest_pair_by_scipy(
        self, weight: float, margin: float, found: Counts
    ) -> None:
        n_c, k_c, n_t, k_t = found
        logs = []
        for p in SHARES.tolist():

            def distance(q: float, p: float = p) -> float:
                parts = ((weight, q + margin), (1 - weight, q))
                return -sum(w * (p * math.log(s) + (1 - p) * math.log1p(-s)) for w, s in parts)

            bounds = (max(p - margin, 0) + 1e-14, min(p, 1 - margin) - 1e-14)
            q = minimize_scalar(distance, bounds=bounds, method="bounded",
                                options={"xatol": 1e-13}).x  # fmt: skip
            logs.append(
                stats.binom.logpmf(k_t, n_t, p) - stats.binom.logpmf(k_t, n_t, q + margin)
                + stats.binom.logpmf(k_c, n_c, p) - stats.binom.logpmf(k_c, n_c, q)
            )  # fmt: skip
        expected = min(MAX_E_VALUE, float(np.mean(np.exp(logs))))
        e_value = float(non_inferiority_e_value(one_cell(weight, found), margin))
        assert e_value == pytest.approx(expected, rel=1e-4, abs=1e-300)

    @pytest.mark.parametrize(("share", "margin", "weight"), [(0.005, 0.01, 0.5), (0.05, 0.03, 0.1)])
    def test_no_bet_grows_faster(
        self, share: float, margin: float, weight: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The mean logarithm of the factor of a unit, for equal versions: the bets are
        1 + lambda (margin - z), z the difference weighted by inverse probabilities."""
        monkeypatch.setattr(e_values, "SHARES", np.array([share]))
        outcomes = {
            (0, 0, 1, 1): weight * share,
            (0, 0, 1, 0): weight * (1 - share),
            (1, 1, 0, 0): (1 - weight) * share,
            (1, 0, 0, 0): (1 - weight) * (1 - share),
        }
        ours = sum(
            p * math.log(float(non_inferiority_e_value(one_cell(weight, found), margin)))
            for found, p in outcomes.items()
        )
        bets = [
            sum(p * math.log1p(f / (max(z) - margin) * (margin - difference))
                for difference, p in zip(z, outcomes.values(), strict=True))
            for m in np.linspace(0, 0.2, 81)
            for z in [((1 - m) / weight, -m / weight, -(1 - m) / (1 - weight), m / (1 - weight))]
            for f in np.linspace(0.01, 0.99, 99)
        ]  # fmt: skip
        assert 0.999 * ours < max(bets) <= ours

    @given(weights, st.sampled_from(MARGINS), counts)
    def test_an_event_in_treatment_is_against_it(
        self, weight: float, margin: float, found: Counts
    ) -> None:
        control, control_events, treatment, events = found
        without = (control, control_events, treatment + 1, events)
        with_event = (control, control_events, treatment + 1, events + 1)
        more, less = (
            float(non_inferiority_e_value(one_cell(weight, each), margin))
            for each in (without, with_event)
        )
        assert more > less or more == less in (0, capped)

    @pytest.mark.parametrize("margin", [-0.1, 0, 1, math.nan])
    def test_a_margin_out_of_range_is_rejected(self, margin: float) -> None:
        with pytest.raises(ValueError, match="margin is"):
            non_inferiority_e_value(one_cell(0.5, (1, 0, 1, 0)), margin)


def harm(found: GateCell) -> float:
    return float(harm_e_value(found))


def not_inferior(found: GateCell) -> float:
    return float(non_inferiority_e_value(found, 0.02))


both = pytest.mark.parametrize("e_value", [harm, not_inferior])


@both
class TestCells:
    def test_without_units_there_is_no_evidence(self, e_value: Callable[[GateCell], float]) -> None:
        assert e_value(cells({})) == pytest.approx(1)
        assert e_value(one_cell(0.1, (0, 0, 0, 0))) == pytest.approx(1)

    def test_a_weight_with_one_arm_is_no_evidence(
        self, e_value: Callable[[GateCell], float]
    ) -> None:
        found = {0.0: (900, 80, 0, 0), 0.1: (90, 4, 10, 2), 1.0: (0, 0, 500, 90)}
        assert e_value(cells(found)) == e_value(one_cell(0.1, (90, 4, 10, 2)))

    def test_cells_with_one_weight_may_be_added(self, e_value: Callable[[GateCell], float]) -> None:
        columns = np.array([[90, 70], [4, 1], [10, 12], [2, 0]], np.float64)
        split = GateCell(np.array([0.1, 0.1]), *columns)
        assert e_value(split) == pytest.approx(e_value(one_cell(0.1, (160, 5, 22, 2))))

    def test_leading_dimensions_are_independent(self, e_value: Callable[[GateCell], float]) -> None:
        columns = np.arange(24, dtype=np.float64).reshape(4, 3, 2)
        weight = np.array([0.05, 0.25])
        runs = GateCell(weight, columns[1], columns[0], columns[3], columns[2])
        e = harm_e_value if e_value is harm else lambda found: non_inferiority_e_value(found, 0.02)
        expected = [
            e_value(GateCell(weight, columns[1, run], columns[0, run], columns[3, run],
                             columns[2, run]))
            for run in range(3)
        ]  # fmt: skip
        assert e(runs).tolist() == pytest.approx(expected)

    @pytest.mark.parametrize("weight", [1e-9, 0.5, 1 - 1e-9])
    @pytest.mark.parametrize("events", [(0, 0), (10**9, 0), (0, 10**9), (10**9, 10**9)])
    def test_any_counts_give_a_finite_number(
        self, e_value: Callable[[GateCell], float], weight: float, events: tuple[int, int]
    ) -> None:
        found = e_value(one_cell(weight, (10**9, events[0], 10**9, events[1])))
        assert 0 <= found <= MAX_E_VALUE * (1 + 1e-9)


def test_units_are_counted_by_weight() -> None:
    treated = np.array([True, False, False, True, False, True])
    event = np.array([True, True, False, False, False, True])
    found = GateCell.count(np.array([0.5, 0.5, 0.1, 0.5, 0.1, 0.1]), treated, event)
    assert found.weight.tolist() == [0.1, 0.5]
    assert found.control_units.tolist() == [2, 1]
    assert found.control_events.tolist() == [0, 1]
    assert found.treatment_units.tolist() == [1, 2]
    assert found.treatment_events.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("weight", "columns", "message"),
    [
        ([1.5], ([1.0], [0.0], [1.0], [0.0]), "weight is"),
        ([math.nan], ([1.0], [0.0], [1.0], [0.0]), "weight is"),
        ([0.5], ([1.0], [2.0], [1.0], [0.0]), "control has a cell without"),
        ([0.5], ([1.0], [0.0], [1.0], [-1.0]), "treatment has a cell without"),
        ([0.5], ([1.0], [0.0], [math.inf], [1.0]), "treatment has a cell without"),
        ([0.5], ([1.0], [0.0], [1.0, 1.0], [0.0, 0.0]), "treatment has"),
        ([0.5, 0.1], ([1.0], [0.0], [1.0], [0.0]), "control has"),
    ],
)
def test_cells_out_of_range_are_rejected(
    weight: list[float], columns: tuple[list[float], ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GateCell(np.array(weight), *(np.array(column) for column in columns))


class TestLimit:
    @given(st.integers(0, 300), st.integers(0, 300), st.floats(0.01, 0.99))
    def test_e_value_is_the_mean_of_likelihood_ratios_by_scipy(
        self, successes: int, failures: int, limit: float
    ) -> None:
        trials = successes + failures
        shares = limit * ODDS_RATIOS / (1 - limit + limit * ODDS_RATIOS)
        ratios = stats.binom.logpmf(successes, trials, shares) - stats.binom.logpmf(
            successes, trials, limit
        )
        found = float(above_limit_e_value(np.array(successes), np.array(trials), limit))
        expected = min(MAX_E_VALUE, float(np.mean(np.exp(np.minimum(ratios, 99)))))
        assert found == pytest.approx(expected, rel=1e-8, abs=1e-300)

    @pytest.mark.parametrize("limit", [0.02, 0.1, 0.5])
    def test_mean_is_1_at_the_limit_and_lower_beyond(self, limit: float) -> None:
        successes, trials = np.arange(6.0), np.full(6, 5.0)
        at_limit = stats.binom.pmf(successes, 5, limit)
        for e_value, beyond in (
            (above_limit_e_value, limit / 2),
            (below_limit_e_value, 1.5 * limit),
        ):
            found = e_value(successes, trials, limit)
            assert float((at_limit * found).sum()) == pytest.approx(1)
            assert float((stats.binom.pmf(successes, 5, beyond) * found).sum()) < 1

    def test_counts_of_weighted_trials(self) -> None:
        assert above_limit_e_value(np.array(30.5), np.array(100.25), 0.1) > 100
        assert below_limit_e_value(np.array(0.5), np.array(60.25), 0.1) > 20
        assert above_limit_e_value(np.array(1e9), np.array(1e9), 0.1) == pytest.approx(MAX_E_VALUE)
        assert below_limit_e_value(np.array(1e9), np.array(1e9), 0.1) == 0

    @pytest.mark.parametrize("limit", [0, 1, math.nan])
    def test_a_limit_out_of_range_is_rejected(self, limit: float) -> None:
        with pytest.raises(ValueError, match="limit is"):
            above_limit_e_value(np.array(1), np.array(2), limit)
