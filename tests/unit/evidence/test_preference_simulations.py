"""Simulated A/B tests. Seeds are fixed; an error at any look counts.

Error rates are asserted to be at most alpha and are far below it; other bounds have a margin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from serve_app.clock import DAY_MS, HOUR_MS
from serve_app.evidence.confidence import ALPHA
from serve_app.evidence.outcome import AssignedUnits, FeedbackRows
from serve_app.evidence.participants import Predictions, Units, match_units
from serve_app.evidence.preference import Preference, compare_preference, preference_measure
from serve_app.evidence.preference_verdict import Collected, decide_preference
from serve_app.evidence.settled import AssignedAt, WeightPeriod, settle
from serve_app.evidence.srm import check
from serve_app.evidence.units import Flags, Floats, Ints
from serve_app.evidence.untold import ODDS_FACTOR, Events, bound_difference
from serve_app.evidence.verdict import Finding

pytestmark = pytest.mark.slow

NO_SRM = check([])
DECIDED = (Finding.BETTER, Finding.WORSE, Finding.NO_DIFFERENCE)


def finding_of(preference: Preference) -> Finding:
    """The finding of a test with a tolerance of one point, all of whose units are settled."""
    measure = preference_measure("complaint", "decrease", 0.01, preference.alpha)
    size = preference.overall.reported.units
    collected = Collected(NO_SRM, NO_SRM, size, preference.responders.units, size, 0, "")
    return decide_preference(preference, measure, collected, None).verdict.finding


@dataclass(frozen=True, slots=True)
class Design:
    """One prediction a user, half of them in treatment.

    Attributes:
        wrong: P(wrong | the image shows a shared label), by arm.
        koalas_right: P(right | koala) in treatment; control is never right.
        hijacked: P(treatment predicts a koala | another animal), which is wrong as well.
        koalas: The share of users who send a koala, a new label.
        speaks: P(complaint | wrong).
        tells: P(the complaint has the true label).
    """

    wrong: tuple[float, float]
    koalas_right: float = 0.0
    hijacked: float = 0.0
    koalas: float = 0.1
    speaks: float = 0.25
    tells: float = 0.6

    def draw(self, rng: np.random.Generator, users: int) -> tuple[AssignedUnits, FeedbackRows]:
        treated, koala = rng.random(users) < 0.5, rng.random(users) < self.koalas
        is_hijacked = ~koala & treated & (rng.random(users) < self.hijacked)
        right = np.where(koala, treated * self.koalas_right, 1 - np.array(self.wrong)[1 * treated])
        complains = ((rng.random(users) >= right) | is_hijacked) & (rng.random(users) < self.speaks)
        label = np.where(rng.random(users) < self.tells, np.where(koala, "koala", "dog"), "")
        feedback = complaints(
            np.flatnonzero(complains),
            np.where(is_hijacked, "koala", "cat")[complains],
            label[complains],
        )
        return AssignedUnits(np.arange(users), np.zeros(users, np.int64), treated), feedback

    def first_findings(
        self, looks: Sequence[int], runs: int, seed: int
    ) -> tuple[dict[Finding, float], list[int | None]]:
        """The share of runs with a finding at any look, and the users at the first decision."""
        rng = np.random.default_rng(seed)
        shares: Counter[Finding] = Counter()
        decided: list[int | None] = []
        for _ in range(runs):
            test = self.draw(rng, looks[-1])
            found = [
                finding_of(compare_preference(*first_units(*test, n), "complaint", ("koala",)))
                for n in looks
            ]
            shares.update(set(found))
            at = [n for n, finding in zip(looks, found, strict=True) if finding in DECIDED]
            decided.append(at[0] if at else None)
        result = {finding: shares[finding] / runs for finding in Finding}
        ever = {finding.value: share for finding, share in result.items() if share}
        print(f"{self}, {runs} runs, seed {seed}, looks {list(looks)}: {ever}")
        return result, decided


def complaints(unit: Ints, predicted: np.ndarray, reported: np.ndarray) -> FeedbackRows:
    blank = np.full(len(unit), np.nan)
    return FeedbackRows(
        unit, predicted, reported, blank, np.ones(len(unit)), blank, np.zeros(len(unit))
    )


def first_units(
    assigned: AssignedUnits, feedback: FeedbackRows, units: int
) -> tuple[AssignedUnits, FeedbackRows]:
    """The first units and their feedback."""
    first = slice(units)
    early = AssignedUnits(assigned.unit[first], assigned.stratum[first], assigned.treated[first])
    return early, feedback.for_units(early.unit)


class TestEqualVersions:
    """Six looks until 8,000 users; a third of the complaints is about koalas."""

    LOOKS = (250, 500, 1000, 2000, 4000, 8000)

    @pytest.mark.parametrize(("tells", "seed"), [(1.0, 21), (0.6, 22), (0.1, 23), (0.0, 24)])
    def test_are_rarely_better_or_worse(self, tells: float, seed: int) -> None:
        design = Design(wrong=(0.2, 0.2), speaks=0.5, tells=tells)
        found, _ = design.first_findings(self.LOOKS, 200, seed)
        assert found[Finding.BETTER] <= ALPHA
        assert found[Finding.WORSE] <= ALPHA


class TestNewLabels:
    """Three looks, 20 runs, seed 12."""

    LOOKS = (2000, 6000, 10_000)

    def test_without_harm_are_better(self) -> None:
        design = Design(wrong=(0.02, 0.02), koalas_right=0.9)
        found, _ = design.first_findings(self.LOOKS, 20, 12)
        assert found[Finding.BETTER] > 0.8
        assert found[Finding.WORSE] <= 0.05

    def test_with_harm_to_shared_labels_are_worse(self) -> None:
        """There are fewer complaints in all, and more about shared labels."""
        design = Design(wrong=(0.02, 0.02), koalas_right=0.95, hijacked=0.06)
        found, _ = design.first_findings((*self.LOOKS, 20_000, 40_000), 20, 12)
        assert found[Finding.BETTER] <= 0.05
        assert found[Finding.WORSE] > 0.8


class TestTimeToDecide:
    """Versions that are right on 90 % of shared labels, treatment also on 90 % of koalas. A quarter
    of the users with a wrong answer complain."""

    LOOKS = (2500, 5000, 10_000, 20_000, 30_000, 45_000, 60_000)

    @pytest.mark.parametrize(
        ("tells", "most_users", "seed"), [(1.0, 20_000, 31), (0.6, 45_000, 32), (0.0, 10_000, 33)]
    )
    def test_is_finite_however_many_tell_the_label(
        self, tells: float, most_users: int, seed: int
    ) -> None:
        """If no user tells, all complaints decide, which is soon."""
        design = Design(wrong=(0.1, 0.1), koalas_right=0.9, tells=tells)
        found, decided = design.first_findings(self.LOOKS, 20, seed)
        users = [self.LOOKS[-1] * 2 if at is None else at for at in decided]
        print(f"decided at a median of {np.median(users):,.0f} users")
        assert found[Finding.BETTER] > 0.8
        assert found[Finding.WORSE] <= 0.05
        assert np.median(users) <= most_users


@pytest.mark.parametrize(("tells", "adverse"), [(0.6, True), (0.6, False), (0.1, True)])
def test_sensitivity_intervals_hold_at_their_bounds(tells: float, adverse: bool) -> None:
    """The odds of the untold differ by exactly the factor, in the two arms in opposite directions;
    15 looks until 4,000 units, 150 runs, seed 41."""
    rng = np.random.default_rng(41)
    runs, units, alpha = 150, 4000, 2 * ALPHA / 3
    told_share = np.array([0.15 / 0.25, 0.15 / 0.2])  # of shared labels, by arm
    factors = np.array([1 / ODDS_FACTOR, ODDS_FACTOR] if adverse else [1, 1])
    untold_share = told_share * factors / (1 - told_share + told_share * factors)
    shares = np.array([0.25, 0.2]) * (tells * told_share + (1 - tells) * untold_share)
    missed = 0
    for _ in range(runs):
        treated = rng.random(units) < 0.5
        arm = treated.astype(int)
        complains = rng.random(units) < np.array([0.25, 0.2])[arm]
        is_told = rng.random(units) < tells
        is_shared = rng.random(units) < np.where(is_told, told_share[arm], untold_share[arm])
        is_missed = False
        for look in np.geomspace(100, units, 15).astype(int):
            row = np.flatnonzero(complains[:look])
            told = is_told[row]
            events = Events(row, np.zeros(len(row), bool), is_shared[row] & told, ~told, told)
            assigned = AssignedUnits(np.arange(look), np.zeros(look, np.int64), treated[:look])
            bounds = bound_difference(assigned.groups, events, ODDS_FACTOR, alpha)
            is_missed |= shares[1] - shares[0] not in bounds.interval
        missed += is_missed
    print(f"sensitivity, {tells=}, {adverse=}, seed 41: missed in {missed / runs:.3f}")
    assert missed / runs <= alpha


def test_silence_is_never_no_difference() -> None:
    """No user gives feedback, or too few to tell silence from a broken feedback loop; seed 51."""
    rng = np.random.default_rng(51)
    for speaks in (0.0, 0.0003):
        test = Design(wrong=(0.1, 0.1), speaks=speaks).draw(rng, 100_000)
        for users in (100, 1000, 10_000, 100_000):
            found = compare_preference(*first_units(*test, users), "complaint", ("koala",))
            assert finding_of(found) is Finding.NOT_KNOWN


@dataclass(frozen=True, slots=True, eq=False)
class Week:
    """Users who arrive over a week, and whose complaints take their time.

    Attributes:
        at_ms, complains_ms: int64 [n]; the complaint is about the first prediction. The latter is
            very large without a complaint.
    """

    at_ms: Ints
    bucket: Floats
    treated: Flags
    complains_ms: Ints


class TestLateComplaints:
    """Equal versions: 15 % of 4,000 users complain, those of control after an hour in the mean,
    those of treatment after a day. Daily looks for 16 days; 100 runs, seed 61."""

    RUNS, USERS, DAYS = 100, 4000, 16
    WINDOW_MS, SETTLE_MS = 7 * DAY_MS, DAY_MS

    def draw(self, rng: np.random.Generator, periods: Sequence[WeightPeriod]) -> Week:
        at_ms = np.sort(rng.integers(0, 7 * DAY_MS, self.USERS))
        bucket = rng.random(self.USERS)
        weight = np.array([p.weight for p in periods])[self.epochs(at_ms, periods)]
        treated = bucket < weight
        delay_ms = rng.exponential(np.where(treated, DAY_MS, HOUR_MS))
        complains = rng.random(self.USERS) < 0.15
        return Week(
            at_ms, bucket, treated, np.where(complains, at_ms + delay_ms, 1e15).astype(np.int64)
        )

    def epochs(self, at_ms: Ints, periods: Sequence[WeightPeriod]) -> Ints:
        return np.searchsorted([p.from_ms for p in periods], at_ms, side="right") - 1

    def findings(
        self, week: Week, periods: Sequence[WeightPeriod], wait_ms: int, settle_ms: int
    ) -> set[Finding]:
        """The findings of all looks."""
        units = np.arange(self.USERS)
        assigned = AssignedAt(
            units, self.epochs(week.at_ms, periods), week.at_ms, week.bucket, week.treated
        )
        found = set()
        for day in range(1, self.DAYS + 1):
            arrived = assigned.select(week.at_ms < day * DAY_MS)
            settlement = settle(arrived, periods, settle_ms, day * DAY_MS, wait_ms)
            is_settled = settlement.is_settled
            settled = arrived.select(is_settled)
            count = len(settled.unit)
            members = Units(
                settled.unit,
                settled.epoch,
                settled.at_ms // HOUR_MS,
                settlement.weight[is_settled],
                np.full(count, ""),
                settled.treated,
                np.ones(count),
            )
            delay_ms = week.complains_ms - week.at_ms
            spoken = units[(week.complains_ms < day * DAY_MS) & (delay_ms <= self.WINDOW_MS)]
            about = Predictions(spoken, week.at_ms[spoken], week.treated[spoken])
            matched = match_units(members, settled.at_ms, about, max(settle_ms, 1))
            rows = complaints(
                spoken[matched.is_eligible],
                np.full(int(matched.is_eligible.sum()), "cat"),
                np.full(int(matched.is_eligible.sum()), ""),
            )
            found.add(finding_of(compare_preference(members.assigned(), rows, "complaint", ())))
        return found

    def shares(
        self, periods: Sequence[WeightPeriod], wait_ms: int, settle_ms: int, runs: int
    ) -> dict[Finding, float]:
        rng = np.random.default_rng(61)
        ever: Counter[Finding] = Counter()
        for _ in range(runs):
            ever.update(self.findings(self.draw(rng, periods), periods, wait_ms, settle_ms))
        found = {finding: ever[finding] / runs for finding in Finding}
        print(f"late complaints, {wait_ms=}, {settle_ms=}, {len(periods)} weights: {found}")
        return found

    HALF = (WeightPeriod(0, 0, None, 0.5),)
    GROWING = (WeightPeriod(0, 0, 2 * DAY_MS, 0.1), WeightPeriod(1, 2 * DAY_MS, None, 0.5))

    @pytest.mark.parametrize("periods", [HALF, GROWING])
    def test_do_not_make_a_version_better(self, periods: tuple[WeightPeriod, ...]) -> None:
        found = self.shares(periods, self.WINDOW_MS, self.SETTLE_MS, self.RUNS)
        assert found[Finding.BETTER] <= ALPHA
        assert found[Finding.WORSE] <= ALPHA

    def test_would_if_units_counted_at_once(self) -> None:
        assert self.shares(self.HALF, 0, 0, 30)[Finding.BETTER] > 0.3
