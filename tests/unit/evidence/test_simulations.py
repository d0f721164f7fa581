"""Error rates and power in simulated experiments: rare failures, returning users, heavy tails.

An error at any look counts. The seeds are fixed. Error rates are asserted to be at most alpha, and
are far below it; bounds on other rates have a margin as well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from serve_app.clock import DAY_MS, HOUR_MS
from serve_app.evidence import confidence
from serve_app.evidence.canary import (
    CanaryUnits,
    decide_canary,
    failures_measure,
    latency_measure,
)
from serve_app.evidence.clusters import design_effect
from serve_app.evidence.comparison import Comparison, UnitGroups
from serve_app.evidence.confidence import (
    ALPHA,
    Interval,
    fixed_horizon,
    interval,
    proportion_sequence,
)
from serve_app.evidence.paired import compare_paired
from serve_app.evidence.power import detectable_effect
from serve_app.evidence.settled import AssignedAt, WeightPeriod, settle
from serve_app.evidence.srm import CONCENTRATIONS, SRM_ALPHA, SrmCounts, check, log_evidence
from serve_app.evidence.units import Floats, Ints, strata
from serve_app.evidence.verdict import Finding, decide
from tests.unit.evidence.simulation import Shares, Users, draw_images

pytestmark = pytest.mark.slow

TOLERANCE = 0.01  # of failures
NO_SRM = check([])


def miss_rates(looks: Iterable[Iterable[Comparison]], effect: float) -> dict[str, float]:
    """The share of runs with an event at any look.

    Args:
        looks: The comparisons of each run.
        effect: The true difference.

    Returns:
        The always valid interval misses the effect; the normal one does; treatment is not worse;
        there is no difference.
    """
    runs = 0
    found = Counter[str]()
    measure = failures_measure(TOLERANCE)
    for run in looks:
        runs += 1
        events = set()
        for compared in run:
            bounds = interval(compared)
            verdict = decide(measure, compared, bounds, NO_SRM)
            single_look = fixed_horizon(compared.difference, compared.variance)
            events |= {
                name
                for name, is_true in (
                    ("missed", effect not in bounds),
                    ("missed by z", effect not in single_look),
                    ("not worse", verdict.is_not_worse),
                    ("no difference", verdict.finding is Finding.NO_DIFFERENCE),
                )
                if is_true
            }
        found.update(events)
    return {
        name: found[name] / runs for name in ("missed", "missed by z", "not worse", "no difference")
    }


class TestRareFailures:
    """Thirty daily looks at the share of units with a failure; 200 runs."""

    RUNS = 200

    @pytest.mark.parametrize(
        ("design", "seed"),
        [
            (Shares(5000, 0.001, 0.0101, (0.01,)), 21),
            (Shares(5000, 0.001, 0.0101, (0.05,)), 22),
            (Shares(1000, 0.001, 0.0101, (0.1,)), 23),
            (Shares(5000, 0.005, 0.0101, (0.05,)), 24),
            (Shares(200, 0.001, 0.0101, (0.5,)), 25),
            (Shares(5000, 0.02, 0.0101, (0.05,)), 26),
            (Shares(5000, 0.001, 0.02, (0.01,)), 27),
            (Shares(1000, 0.001, 0.0101, (0.01, 0.1, 0.5), trend=1), 28),
        ],
    )
    def test_harm_beyond_the_tolerance_is_rarely_overlooked(
        self, design: Shares, seed: int
    ) -> None:
        """A unit fails in 0.1 to 2 % of control, and in a little more than one point more of
        treatment."""
        rng = np.random.default_rng(seed)
        found = miss_rates((design.looks(rng) for _ in range(self.RUNS)), design.effect)
        print(f"{design}, seed {seed}: {found}")
        assert found["missed"] <= ALPHA
        assert found["not worse"] <= ALPHA
        assert found["no difference"] <= ALPHA
        assert found["missed by z"] > 0.15

    @pytest.mark.parametrize(
        ("design", "seed"),
        [
            (Shares(5000, 0.001, weights=(0.01,)), 31),
            (Shares(500, 0.02), 32),
            (Shares(200, 0.3, weights=(0.1, 0.5)), 34),
            (Shares(1000, 0.02, weights=(0.01, 0.1, 0.5), trend=1), 35),
            (Shares(1000, 0.3, weights=(0.02, 0.05, 0.1, 0.2, 0.35, 0.5), trend=-0.9), 36),
        ],
    )
    def test_equal_versions_rarely_differ(self, design: Shares, seed: int) -> None:
        """With a constant or a growing weight, and with a share that changes with it."""
        rng = np.random.default_rng(seed)
        found = miss_rates((design.looks(rng) for _ in range(self.RUNS)), 0)
        print(f"{design}, seed {seed}: {found}")
        assert found["missed"] <= ALPHA
        assert found["missed by z"] > 0.1

    def test_clear_harm_is_found_with_few_units(self) -> None:
        """5 % of 1,000 units a day; 0.5 % and 10 % fail; seed 37."""
        rng = np.random.default_rng(37)
        units = []
        for _ in range(self.RUNS):
            looks = Shares(1000, 0.005, 0.095, (0.05,)).looks(rng)
            first = next((c.units_treatment for c in looks if interval(c).low > 0), math.inf)
            units.append(first)
        median = float(np.median(units))
        print(f"0.5 % and 10 %, seed 37: median of {median:.0f} units of treatment")
        assert median < 200


class TestMeans:
    """Thirty daily looks at the mean latency of users whose connections differ; 200 runs."""

    @pytest.mark.parametrize(("weight", "users", "seed"), [(0.5, 600, 41), (0.05, 3000, 43)])
    def test_equal_versions_rarely_differ(self, weight: float, users: int, seed: int) -> None:
        rng, missed = np.random.default_rng(seed), Counter[str]()
        for _ in range(200):
            looks = [
                units.compare_latency() for units in Users(users, weight=weight).looks(rng, every=1)
            ]
            missed["always valid"] += any(0 not in interval(look) for look in looks)
            missed["z"] += any(0 not in fixed_horizon(c.difference, c.variance) for c in looks)
        print(f"mean latency, {users} users, weight {weight}, seed {seed}: missed {missed} of 200")
        assert missed["always valid"] <= ALPHA * 200
        assert missed["z"] > 0.15 * 200


class TestCanary:
    """Looks at all three measures on every third of thirty days."""

    def findings(self, design: Users, runs: int, seed: int) -> Counter[str]:
        """The number of runs with a verdict at any look, and with a measure that is worse by z."""
        rng, found = np.random.default_rng(seed), Counter[str]()
        for _ in range(runs):
            found.update(set().union(*map(self.events, design.looks(rng, every=3))))
        print(f"{design}, seed {seed}: {dict(found)} of {runs}")
        return found

    def events(self, units: CanaryUnits) -> set[str]:
        failures = units.compare_failures(None)
        latency, model = units.compare_latency(), units.compare_model_time()
        verdicts, events = {}, set()
        for measure, compared in (
            (failures_measure(TOLERANCE), failures),
            (latency_measure("latency", latency, 0.1), latency),
            (latency_measure("model time", model, 0.1), model),
        ):
            bounds = interval(compared, measure.alpha)
            verdicts[measure.name] = decide(measure, compared, bounds, NO_SRM)
            if fixed_horizon(compared.difference, compared.variance).low > 0:
                events.add("worse by z")
        return events | {decide_canary(verdicts, NO_SRM).finding}

    def test_equal_versions_are_rarely_worse_on_any_measure(self) -> None:
        """300 runs."""
        found = self.findings(Users(1500), 300, seed=51)
        assert found[Finding.WORSE] <= ALPHA * 300
        assert found["worse by z"] > 0.2 * 300

    def test_a_version_whose_failures_drive_users_away_is_worse(self) -> None:
        """The cameras of 10 % of stable's users and of 15 % of the candidate's fail. Stable's users
        try again, the candidate's leave: of its answers, fewer fail. 200 runs."""
        design = Users(4000, visits=6, broken_treatment=0.15, leaving=True)
        units = design.draw(np.random.default_rng(52))
        by_exposure = [
            units.errors[arm].sum() / units.exposures[arm].sum()
            for arm in (~units.treated, units.treated)
        ]
        assert by_exposure[1] < 0.5 * by_exposure[0]
        found = self.findings(design, 200, seed=52)
        assert found[Finding.BETTER] == 0
        assert found[Finding.WORSE] > 0.8 * 200

    def test_users_who_leave_after_a_rare_failure_do_not_make_it_better(self) -> None:
        """Each exposure fails in 5 %, and users of the candidate leave then. 200 runs."""
        design = Users(4000, visits=6, failures=0.05, broken=0, broken_treatment=0, leaving=True)
        found = self.findings(design, 200, seed=53)
        assert found[Finding.BETTER] + found[Finding.WORSE] <= ALPHA * 200


class TestChangedWeights:
    """The weight is 10 %, then half, then 10 %, for ten days each. Equal versions.

    Users arrive all the time, and have failures at a rate of 3 % a day as long as they are there.
    A unit settles in five days. There is a look on every second day; 100 runs.
    """

    RUNS = 100
    PERIODS = (
        WeightPeriod(1, 0, 10 * DAY_MS, 0.1),
        WeightPeriod(2, 10 * DAY_MS, 20 * DAY_MS, 0.5),
        WeightPeriod(3, 20 * DAY_MS, 30 * DAY_MS, 0.1),
    )
    SETTLE_MS = 5 * DAY_MS

    def draw(self, rng: np.random.Generator, users: int) -> tuple[AssignedAt, Ints, Ints]:
        """Units, the time of each one's first failure, and of its first change of sides."""
        at_ms = rng.integers(0, 30 * DAY_MS, users)
        bucket = rng.random(users)
        period = at_ms // (10 * DAY_MS)
        treated = bucket < np.array([0.1, 0.5, 0.1])[period]
        failed_ms = at_ms + (rng.exponential(1 / 0.03, users) * DAY_MS).astype(np.int64)
        is_between = (bucket >= 0.1) & (bucket < 0.5)
        changed_ms = np.where(is_between & (period < 2), (period + 1) * 10 * DAY_MS, 99 * DAY_MS)
        return (
            AssignedAt(np.arange(users), period + 1, at_ms, bucket, treated),
            failed_ms,
            changed_ms,
        )

    def test_settled_units_are_compared_without_bias(self) -> None:
        rng = np.random.default_rng(61)
        missed, differences = 0, []
        for _ in range(self.RUNS):
            units, failed_ms, _ = self.draw(rng, 3000)
            looks = [
                self.compare_settled(units, failed_ms, day * DAY_MS) for day in range(6, 36, 2)
            ]
            missed += any(0 not in interval(look) for look in looks)
            differences.append(looks[-1].difference)
        z = math.sqrt(self.RUNS) * np.mean(differences) / np.std(differences)
        print(f"changed weights, seed 61: settled units missed {missed}, z of the mean {z:.1f}")
        assert missed <= ALPHA * self.RUNS
        assert abs(z) < 4

    def test_all_units_on_the_side_of_their_first_assignment_would_be_biased(self) -> None:
        """At the end of the second period. A failure counts until the unit changes sides, as many
        units of control did, and none of treatment."""
        rng = np.random.default_rng(62)
        differences, end_ms = [], 20 * DAY_MS
        for _ in range(self.RUNS):
            units, failed_ms, changed_ms = self.draw(rng, 3000)
            failed = (failed_ms < changed_ms) & (failed_ms < end_ms)
            assigned = units.at_ms < end_ms
            units = units.select(assigned)
            stratum = strata(units.epoch, units.at_ms // HOUR_MS, units.treated)
            groups = UnitGroups(stratum, units.treated, np.ones(len(units.unit)))
            differences.append(groups.compare(failed[assigned]).difference)
        z = math.sqrt(self.RUNS) * np.mean(differences) / np.std(differences)
        print(f"changed weights, seed 62: all units, z of the mean {z:.1f}")
        assert abs(z) > 6

    def compare_settled(self, units: AssignedAt, failed_ms: Ints, as_of_ms: int) -> Comparison:
        settlement = settle(units, self.PERIODS, self.SETTLE_MS, as_of_ms)
        settled = units.select(settlement.is_settled)
        failed = (failed_ms < units.at_ms + self.SETTLE_MS)[settlement.is_settled]
        split = np.unique(settlement.weight[settlement.is_settled], return_inverse=True)[1]
        stratum = strata(split, settled.at_ms // HOUR_MS, settled.treated)
        groups = UnitGroups(stratum, settled.treated, np.ones(len(failed)))
        return groups.compare(failed, (0, 1))


class TestSrm:
    """Thirty looks: ten days at 10 %, then twenty at 40 %; seed 6.

    The evidence is that of `check`, computed for all experiments at once.
    """

    LOOKS = 30
    WEIGHTS = np.repeat([0.1, 0.4], [10, 20])

    def p_values(self, daily: int, loss: float, runs: int, seed: int) -> Floats:
        """[runs, looks]: p if a share of treatment's units is lost."""
        rng = np.random.default_rng(seed)
        treatment = rng.binomial(daily, self.WEIGHTS, (runs, self.LOOKS))
        control = daily - treatment
        treatment = rng.binomial(treatment, 1 - loss)
        evidence = np.zeros((len(CONCENTRATIONS), runs, self.LOOKS))
        for weight in (0.1, 0.4):
            days = weight == self.WEIGHTS
            c, t = ((days * units).cumsum(axis=1) for units in (control, treatment))
            for row, concentration in enumerate(CONCENTRATIONS):
                evidence[row] += log_evidence(c, t, weight, concentration)
        self.assert_equals_check(control[0], treatment[0], evidence[:, 0, -1])
        return np.exp(-logsumexp(evidence, axis=0) + math.log(len(CONCENTRATIONS)))

    def assert_equals_check(self, control: Ints, treatment: Ints, evidence: Floats) -> None:
        epochs = [
            SrmCounts(
                number,
                int(control[weight == self.WEIGHTS].sum()),
                int(treatment[weight == self.WEIGHTS].sum()),
                weight,
            )
            for number, weight in enumerate((0.1, 0.4))
        ]
        assert check(epochs).p == pytest.approx(min(1, 1 / np.exp(evidence).mean()), rel=1e-6)

    def test_correct_weights_rarely_alarm(self) -> None:
        """20,000 experiments."""
        p = self.p_values(daily=300, loss=0, runs=20_000, seed=6)
        false_alarms = float((p < SRM_ALPHA).any(axis=1).mean())
        print(f"SRM, seed 6: {false_alarms:.4f} false alarms at {SRM_ALPHA}")
        assert 0.0005 < false_alarms <= 0.01

    def test_chi_square_at_each_look_alarms_too_often(self) -> None:
        rng = np.random.default_rng(6)
        treatment = rng.binomial(300, 0.5, (20_000, self.LOOKS)).cumsum(axis=1)
        n = 300 * np.arange(1, self.LOOKS + 1)
        alarms = np.abs(treatment - n / 2) / np.sqrt(n / 4) > stats.norm.isf(SRM_ALPHA / 2)
        naive = float(alarms.any(axis=1).mean())
        print(f"SRM by chi-square, seed 6: {naive:.4f} false alarms at {SRM_ALPHA}")
        assert naive > 0.05

    def test_lost_units_are_found(self) -> None:
        """52 % of 20,000 units where 50 % are expected; 5 % of treatment lost in 60,000 units."""
        rng = np.random.default_rng(7)
        treatment = rng.binomial(20_000, 0.52, 400).tolist()
        found = np.mean([check([SrmCounts(1, 20_000 - t, t, 0.5)]).is_invalid for t in treatment])
        print(f"52 for 50 % of 20,000 units, seed 7: found {found:.3f}")
        assert found > 0.9
        lost = float((self.p_values(2000, 0.05, 1000, 8)[:, -1] < SRM_ALPHA).mean())
        print(f"5 % of treatment lost, of 60,000 units, seed 8: found {lost:.3f}")
        assert lost > 0.85


class TestPaired:
    """A look after every one of 300 reviews; 4,000 runs, seed 9."""

    REVIEWS = 300
    RUNS = 4000

    def first_decision(self, share: float) -> Ints:
        """[runs]: the number of reviews at which p is first below 5 %; REVIEWS + 1 if never."""
        p = np.ones((self.REVIEWS + 1, self.REVIEWS + 1))
        for n in range(1, self.REVIEWS + 1):
            for k in range(n + 1):
                p[n, k] = math.exp(-confidence.log_evidence(k, n, 0.5))
        assert p[40, 29] == pytest.approx(compare_paired(11, 29).p)
        rng = np.random.default_rng(9)
        candidate = (rng.random((self.RUNS, self.REVIEWS)) < share).cumsum(axis=1)
        is_low = p[np.arange(1, self.REVIEWS + 1), candidate] < 0.05
        return np.where(is_low.any(axis=1), is_low.argmax(axis=1) + 1, self.REVIEWS + 1)

    def test_equal_versions_are_rarely_different(self) -> None:
        false_alarms = float((self.first_decision(0.5) <= self.REVIEWS).mean())
        rng = np.random.default_rng(9)
        k = (rng.random((self.RUNS, self.REVIEWS)) < 0.5).cumsum(axis=1)
        n = np.arange(1, self.REVIEWS + 1)
        alarms = np.asarray(stats.binom.cdf(np.minimum(k, n - k), n, 0.5)) < 0.025
        naive = float(alarms.any(axis=1).mean())
        print(f"paired, seed 9: {false_alarms:.4f} false, exact McNemar at each look {naive:.4f}")
        assert false_alarms <= 0.05
        assert naive > 0.12

    def test_better_version_is_found(self) -> None:
        median = float(np.median(self.first_decision(0.7)))
        print(f"paired, 70 % right, seed 9: median of {median:.0f} reviews")
        assert median < 70


class TestPower:
    """Within 3 points of the predicted power; 1,500 runs have a standard error of 1.2 points."""

    RUNS = 1500

    def test_power_of_unit_shares(self) -> None:
        """6,000 units, 30 % in treatment, 53 % of control complain; seed 10."""
        rng = np.random.default_rng(10)
        units, weight, share = 6000, 0.3, 0.53
        effect = detectable_effect(units, share * (1 - share), weight, target_power=0.7)
        found = sum(
            0 not in interval(next(Shares(units, share, -effect, (weight,), days=1).looks(rng)))
            for _ in range(self.RUNS)
        )
        print(f"power of unit shares, seed 10: {found / self.RUNS:.3f}, predicted 0.7")
        assert found / self.RUNS == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize(
    ("users", "share", "correlation"),
    [(30, 0.1, 1.0), (200, 0.02, 1.0), (300, 0.3, 1.0), (200, 0.5, 0.2), (800, 0.97, 0.2)],
)
def test_shadow_rates_with_correlated_images_of_few_users(
    users: int, share: float, correlation: float
) -> None:
    """Heavy-tailed users with correlated images; ten images a user, 30 looks, seed 8. Intervals
    that ignore the correlation miss the truth too often."""
    rng = np.random.default_rng(8)
    missed = {"clustered": 0, "independent": 0}
    for _ in range(80):
        unit, koala = draw_images(rng, users, 10 * users, share, correlation)
        looks = np.unique(np.geomspace(20, len(unit), 30).astype(int))
        for name in missed:
            missed[name] += any(
                share not in rate_interval(unit[:n], koala[:n], name == "clustered")
                for n in looks.tolist()
            )
    found = {name: count / 80 for name, count in missed.items()}
    print(f"{users} users, rate {share}, correlation {correlation}, seed 8: missed {found}")
    assert found["clustered"] <= 0.05
    assert found["independent"] > 0.15


def rate_interval(unit: Ints, success: Floats, is_clustered: bool) -> Interval:
    """The interval of a rate, from one image a row."""
    trials = np.ones(len(unit))
    effect = design_effect(unit, trials, success) if is_clustered else 1.0
    return proportion_sequence(float(success.sum()) / effect, len(unit) / effect)
