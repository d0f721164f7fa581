from __future__ import annotations

import pytest

from serve_app.clock import DAY_MS
from serve_app.errors import NothingToReport
from serve_app.evidence.srm import SrmCounts
from serve_app.reports import experiment
from serve_app.reports.period import parse_period
from tests.unit.reports.conftest import CANARY, DAY, SHADOW, START_MS, TEST, StoreBuilder, hours

CANARIES, TESTS = ("canary_rolling", "canary_parallel"), ("ab_test",)


def test_find_experiment_finds_the_newest_of_its_kind(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, experiment="first")
    builder.adopt_rule(CANARY, minute=60, experiment="second")
    builder.adopt_rule(TEST, minute=120)
    found = experiment.find_experiment(builder.build(), CANARIES, DAY, None)
    assert (found.name, found.unit, found.control, found.treatment) == (
        "second",
        "user",
        "v1",
        "v2",
    )


def test_find_experiment_finds_a_name(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, experiment="first")
    builder.adopt_rule(CANARY, minute=60, experiment="second")
    assert experiment.find_experiment(builder.build(), CANARIES, DAY, "first").name == "first"


def test_an_experiment_has_its_epochs_in_the_period_and_their_weights(
    builder: StoreBuilder,
) -> None:
    builder.adopt_rule(CANARY, weight=0.05)
    builder.adopt_rule(SHADOW, minute=60)
    builder.adopt_rule(CANARY, minute=120, weight=0.25)
    builder.adopt_rule(CANARY, minute=180, weight=0.5)
    store = builder.build()
    found = experiment.find_experiment(store, CANARIES, DAY, None)
    assert found.weights == {1: 0.05, 3: 0.25, 4: 0.5}
    assert found.rule.share == 0.5
    assert [(e["epoch"], e["weight"]) for e in found.content()["epochs"]] == [
        (1, 0.05),
        (3, 0.25),
        (4, 0.5),
    ]
    assert experiment.find_experiment(store, CANARIES, hours(2.5, 24), None).epoch_numbers == (3, 4)


@pytest.mark.parametrize(
    ("kinds", "name", "message"),
    [
        (TESTS, None, "no rule of this kind was in force in this period: deploy one"),
        (TESTS, "koala-canary", "no experiment 'koala-canary' was in force in this period"),
        (CANARIES, "dingo", "no experiment 'dingo' was in force in this period: there is koala-"),
        (CANARIES, "x" * 90, f"no experiment '{'x' * 50}' was in force"),
    ],
)
def test_a_missing_experiment_is_an_error(
    builder: StoreBuilder, kinds: tuple[str, ...], name: str | None, message: str
) -> None:
    builder.adopt_rule(CANARY)
    with pytest.raises(NothingToReport, match=f"^{message}"):
        experiment.find_experiment(builder.build(), kinds, DAY, name)


def test_find_experiment_rejects_a_period_before_the_experiment(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST, minute=120)
    with pytest.raises(NothingToReport):
        experiment.find_experiment(builder.build(), TESTS, hours(0, 2), None)


def test_a_period_covers_an_experiment_that_it_begins_before(builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY, minute=60, weight=0.05)
    builder.adopt_rule(CANARY, minute=120, weight=0.25)
    store = builder.build()
    for since_h, covers in ((0, True), (1, True), (1.5, False), (2.5, False)):
        found = experiment.find_experiment(store, CANARIES, hours(since_h, 24), None)
        assert experiment.covers_experiment(store, found, hours(since_h, 24)) == covers
    everything = parse_period(None, None, START_MS + DAY_MS)
    assert everything.content()["since_ms"] is None
    assert experiment.covers_experiment(
        store, experiment.find_experiment(store, CANARIES, everything, None), everything
    )


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
    found = experiment.find_experiment(store, CANARIES, DAY, None)
    counts = experiment.srm_counts(store, found, DAY)
    assert counts == {
        "AU": [SrmCounts(1, 2, 0, 0.1)],
        "NZ": [SrmCounts(1, 0, 1, 0.1), SrmCounts(2, 0, 1, 0.5)],
    }
    assert experiment.sum_regions(counts) == [SrmCounts(1, 2, 1, 0.1), SrmCounts(2, 0, 1, 0.5)]


def test_srm_counts_requests_as_units(builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST, unit="request", weight=0.25)
    for assigned in ("v1", "v1", "v1", "v2"):
        builder.add_exposure(assigned, user=1, region="AU")
    builder.add_exposure("v1", user=1, region="AU", reason="not_targeted")
    store = builder.build()
    found = experiment.find_experiment(store, TESTS, DAY, None)
    assert experiment.srm_counts(store, found, DAY) == {"AU": [SrmCounts(1, 3, 1, 0.25)]}
