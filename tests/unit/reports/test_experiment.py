from __future__ import annotations

import numpy as np
import pytest

from serve_app.clock import DAY_MS, HOUR_MS
from serve_app.errors import NothingToReport
from serve_app.evidence.settled import WeightPeriod
from serve_app.evidence.srm import SrmCounts
from serve_app.evidence.verdict import ArmNames, Pace
from serve_app.reports import experiment
from serve_app.reports.experiment import experiments, find_experiment, srm_counts
from serve_app.reports.period import parse_period
from serve_app.rules.registry import KINDS
from tests.unit.reports.conftest import CANARY, DAY, SHADOW, START_MS, TEST, StoreBuilder, hours


def test_find_experiment_finds_the_newest_of_its_kind(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, experiment="first")
    builder.adopt_rule(CANARY, minute=60, experiment="second")
    builder.adopt_rule(TEST, minute=120)
    found = find_experiment(builder.build(), "canary", DAY, None)
    assert (found.name, found.unit, found.control, found.treatment) == (
        "second",
        "user",
        "v1",
        "v2",
    )


def test_find_experiment_finds_a_name(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, experiment="first")
    builder.adopt_rule(CANARY, minute=60, experiment="second")
    assert find_experiment(builder.build(), "canary", DAY, "first").name == "first"


def test_an_experiment_has_its_epochs_in_the_period_and_their_weights(
    builder: StoreBuilder,
) -> None:
    builder.adopt_rule(CANARY, weight=0.05)
    builder.adopt_rule(SHADOW, minute=60)
    builder.adopt_rule(CANARY, minute=120, weight=0.25)
    builder.adopt_rule(CANARY, minute=180, weight=0.5)
    store = builder.build()
    found = find_experiment(store, "canary", DAY, None)
    assert found.weights == {1: 0.05, 3: 0.25, 4: 0.5}
    assert found.rule.share == 0.5
    assert [(e.epoch, e.weight) for e in found.assessed(DAY).epochs] == [
        (1, 0.05),
        (3, 0.25),
        (4, 0.5),
    ]
    assert find_experiment(store, "canary", hours(2.5, 24), None).epoch_numbers == (3, 4)


@pytest.mark.parametrize(
    ("report", "name", "message"),
    [
        ("ab", None, "no A/B test was in force in this period: deploy one"),
        ("shadow", None, "no shadow was in force in this period: deploy one"),
        ("ab", "koala-canary", "no experiment 'koala-canary' was in force in this period"),
        ("canary", "dingo", "no experiment 'dingo' was in force in this period: there is koala-"),
        ("canary", "x" * 90, f"no experiment '{'x' * 50}' was in force"),
    ],
)
def test_a_missing_experiment_is_an_error(
    builder: StoreBuilder, report: str, name: str | None, message: str
) -> None:
    builder.adopt_rule(CANARY)
    with pytest.raises(NothingToReport, match=f"^{message}"):
        find_experiment(builder.build(), report, DAY, name)


def test_find_experiment_rejects_a_period_before_the_experiment(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST, minute=120)
    with pytest.raises(NothingToReport):
        find_experiment(builder.build(), "ab", hours(0, 2), None)


def test_a_period_covers_an_experiment_that_it_begins_before(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, minute=60, weight=0.05)
    builder.adopt_rule(CANARY, minute=120, weight=0.25)
    store = builder.build()
    for since_h, covers in ((0, True), (1, True), (1.5, False), (2.5, False)):
        period = hours(since_h, 24)
        assert find_experiment(store, "canary", period, None).is_covered_by(period) == covers
    everything = parse_period(START_MS + DAY_MS, None)
    assert everything.covered.since_ms is None
    assert find_experiment(store, "canary", everything, None).is_covered_by(everything)


def test_epochs_of_other_kinds_or_versions_are_another_experiment(builder: StoreBuilder) -> None:
    """Even if they have the same name."""
    rolling = CANARY | {"kind": "canary_rolling", "replicas": 1, "of": 2}
    same_name = {"experiment": "koala"}
    builder.adopt_rule(CANARY | same_name)
    builder.adopt_rule(rolling | same_name, minute=60)
    builder.adopt_rule(CANARY | same_name, minute=120, candidate="v3")
    builder.adopt_rule(CANARY | same_name, minute=180, weight=0.1)
    store = builder.build()
    found = [(e.name, e.kind, e.treatment, e.epoch_numbers) for e in experiments(store, DAY)]
    assert found == [
        ("koala", "canary_rolling", "v2", (2,)),
        ("koala", "canary_parallel", "v3", (3,)),
        ("koala", "canary_parallel", "v2", (1, 4)),
    ]
    assert find_experiment(store, "canary", DAY, "koala").epoch_numbers == (1, 4)


def test_another_age_is_another_experiment(builder: StoreBuilder) -> None:
    """Another tolerance is not: no interval depends on it."""
    builder.adopt_rule(CANARY)
    builder.adopt_rule(CANARY, minute=60, settle="2h")
    builder.adopt_rule(CANARY, minute=120, tolerances={"failures": 0.05})
    second, first = experiments(builder.build(), DAY)
    assert (first.epoch_numbers, first.settle_ms) == ((1, 3), HOUR_MS)
    assert (second.epoch_numbers, second.settle_ms) == ((2,), 2 * HOUR_MS)
    assert first.digest != second.digest


def test_an_experiment_has_the_weights_of_its_epochs_over_time(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, weight=0.05)
    builder.adopt_rule(SHADOW, minute=60)
    builder.adopt_rule(CANARY, minute=120, weight=0.25)
    found = find_experiment(builder.build(), "canary", DAY, None)
    assert found.weight_periods == [
        WeightPeriod(1, START_MS, START_MS + HOUR_MS, 0.05),
        WeightPeriod(3, START_MS + 2 * HOUR_MS, None, 0.25),
    ]
    assert found.arms == ArmNames("stable", "candidate")


def test_the_pace_is_that_of_the_last_day(builder: StoreBuilder) -> None:
    """Of less than a day if the experiment is younger."""
    builder.adopt_rule(CANARY)
    found = find_experiment(builder.build(), "canary", DAY, None)
    assigned_ms = START_MS + np.array([0, 5, 30, 31]) * HOUR_MS
    assert found.pace(assigned_ms[:2], START_MS + 6 * HOUR_MS, HOUR_MS) == Pace(8)
    assert found.pace(assigned_ms, START_MS + 32 * HOUR_MS, HOUR_MS) == Pace(2)
    assert found.pace(assigned_ms, START_MS + 90 * HOUR_MS, HOUR_MS) == Pace(None)
    assert found.pace(assigned_ms[:0], START_MS, HOUR_MS) == Pace(None)


def test_no_unit_comes_after_the_end(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    builder.adopt_rule(SHADOW, minute=60)
    found = find_experiment(builder.build(), "canary", DAY, None)
    assigned_ms = START_MS + np.array([HOUR_MS // 4])
    assert found.pace(assigned_ms, DAY.as_of_ms, HOUR_MS) is None
    assert found.pace(assigned_ms, START_MS + 2 * HOUR_MS - 1, HOUR_MS) == Pace(None)
    assert found.pace(assigned_ms, START_MS + HOUR_MS // 2, HOUR_MS) == Pace(48)


def test_another_outcome_is_another_experiment(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST, outcome={"metric": "complaint"})
    builder.adopt_rule(TEST, minute=60, outcome={"metric": "rating"})
    assert [e.epoch_numbers for e in experiments(builder.build(), DAY)] == [(1,), (2,)]


def test_epochs_of_a_strategy_that_was_removed_are_ignored(
    builder: StoreBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.adopt_rule(CANARY)
    builder.adopt_rule(SHADOW, minute=60)
    store = builder.build()
    monkeypatch.setattr(experiment, "KINDS", {"shadow": KINDS["shadow"]})
    assert [e.kind for e in experiments(store, DAY)] == ["shadow"]


def test_a_shadow_without_a_name_is_named_after_its_versions(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    builder.adopt_rule(SHADOW, minute=60, candidate="v3")
    builder.adopt_rule(SHADOW, minute=120, experiment="busy-week")
    found = experiments(builder.build(), DAY)
    assert [(e.name, e.unit) for e in found] == [
        ("shadow-v1-v2", ""),
        ("shadow-v1-v3", ""),
        ("busy-week", ""),
    ]


def test_an_experiment_ends_with_its_last_epoch_in_the_period_or_not(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, weight=0.05)
    builder.adopt_rule(CANARY, minute=60, weight=0.25)
    builder.adopt_rule(SHADOW, minute=120)
    store = builder.build()
    first_hour = find_experiment(store, "canary", hours(0, 1), None)
    assert (first_hour.epoch_numbers, first_hour.ended_at_ms) == ((1,), START_MS + 2 * HOUR_MS)
    assert find_experiment(store, "shadow", DAY, None).ended_at_ms is None


def test_srm_counts_units_at_their_first_assignment(builder: StoreBuilder) -> None:
    """The new weight moves user 1 to v2, in another region; user 2 has two exposures."""
    builder.adopt_rule(CANARY, weight=0.1)
    for user, region in ((1, "AU"), (2, "AU"), (2, "NZ"), (3, "NZ")):
        builder.add_exposure("v2" if user == 3 else "v1", user, region=region)
    builder.adopt_rule(CANARY, minute=60, weight=0.5)
    builder.add_exposure("v2", user=1, minute=61, region="FJ")
    builder.add_exposure("v2", user=4, minute=61, region="NZ")
    builder.add_exposure("v3", user=5, minute=61, reason="pinned", region="NZ")
    builder.add_exposure("v2", user=6, minute=61, reason="tagged", region="NZ")
    builder.add_exposure("v1", user=None, minute=61, reason="no_unit", region="NZ")
    store = builder.build()
    found = find_experiment(store, "canary", DAY, None)
    counts = srm_counts(store, found, DAY)
    assert counts == {
        "AU": [SrmCounts(1, 2, 0, 0.1)],
        "NZ": [SrmCounts(1, 0, 1, 0.1), SrmCounts(2, 0, 1, 0.5)],
    }


def test_srm_counts_requests_as_units(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST, unit="request", weight=0.25)
    for assigned in ("v1", "v1", "v1", "v2"):
        builder.add_exposure(assigned, user=1, region="AU")
    builder.add_exposure("v1", user=1, region="AU", reason="not_targeted")
    store = builder.build()
    found = find_experiment(store, "ab", DAY, None)
    assert srm_counts(store, found, DAY) == {"AU": [SrmCounts(1, 3, 1, 0.25)]}
