from __future__ import annotations

import pytest

from serve_app.clock import DAY_MS
from serve_app.errors import NothingToReport
from serve_app.evidence.srm import SrmCounts
from serve_app.reports import experiment
from serve_app.reports.period import period
from tests.unit.reports.conftest import CANARY, DAY, SHADOW, START_MS, TEST, Diary, hours

CANARIES, TESTS = ("canary_rolling", "canary_parallel"), ("ab_test",)


def test_the_newest_of_its_kind_is_found(diary: Diary) -> None:
    diary.obeys(CANARY, experiment="first")
    diary.obeys(CANARY, minute=60, experiment="second")
    diary.obeys(TEST, minute=120)
    found = experiment.find(diary.store(), CANARIES, DAY, None)
    assert (found.name, found.unit, found.control, found.treatment) == (
        "second",
        "user",
        "v1",
        "v2",
    )


def test_it_is_found_by_name(diary: Diary) -> None:
    diary.obeys(CANARY, experiment="first")
    diary.obeys(CANARY, minute=60, experiment="second")
    assert experiment.find(diary.store(), CANARIES, DAY, "first").name == "first"


def test_it_has_all_of_its_epochs_with_their_weights(diary: Diary) -> None:
    diary.obeys(CANARY, weight=0.05)
    diary.obeys(SHADOW, minute=60)
    diary.obeys(CANARY, minute=120, weight=0.25)
    diary.obeys(CANARY, minute=180, weight=0.5)
    store = diary.store()
    found = experiment.find(store, CANARIES, DAY, None)
    assert found.weights == {1: 0.05, 3: 0.25, 4: 0.5}
    assert found.rule.share == 0.5
    assert [(e["epoch"], e["weight"]) for e in found.content()["epochs"]] == [
        (1, 0.05),
        (3, 0.25),
        (4, 0.5),
    ]
    assert experiment.find(store, CANARIES, hours(2.5, 24), None).numbers == (3, 4)


@pytest.mark.parametrize(
    ("kinds", "name", "told"),
    [
        (TESTS, None, "no rule of this kind was in force in this period: deploy one"),
        (TESTS, "koala-canary", "no experiment 'koala-canary' was in force in this period"),
        (CANARIES, "dingo", "no experiment 'dingo' was in force in this period: there is koala-"),
        (CANARIES, "x" * 90, f"no experiment '{'x' * 50}' was in force"),
    ],
)
def test_none_is_told(diary: Diary, kinds: tuple[str, ...], name: str | None, told: str) -> None:
    diary.obeys(CANARY)
    with pytest.raises(NothingToReport, match=f"^{told}"):
        experiment.find(diary.store(), kinds, DAY, name)


def test_before_it_began_there_was_none(diary: Diary) -> None:
    diary.obeys(TEST, minute=120)
    with pytest.raises(NothingToReport):
        experiment.find(diary.store(), TESTS, hours(0, 2), None)


def test_a_period_that_begins_later_has_a_part_of_it(diary: Diary) -> None:
    diary.obeys(CANARY, minute=60, weight=0.05)
    diary.obeys(CANARY, minute=120, weight=0.25)
    store = diary.store()
    for begins, whole in ((0, True), (1, True), (1.5, False), (2.5, False)):
        found = experiment.find(store, CANARIES, hours(begins, 24), None)
        assert experiment.is_whole(store, found, hours(begins, 24)) == whole
    everything = period(None, None, START_MS + DAY_MS)
    assert everything.content()["since_ms"] is None
    assert experiment.is_whole(
        store, experiment.find(store, CANARIES, everything, None), everything
    )


def test_units_are_counted_where_they_were_assigned_first(diary: Diary) -> None:
    """User 1 is sent on to v2 as the weight grows, and moves to Fiji; user 2 comes twice."""
    diary.obeys(CANARY, weight=0.1)
    for user, region in ((1, "AU"), (2, "AU"), (2, "NZ"), (3, "NZ")):
        diary.answers("v2" if user == 3 else "v1", user, region=region)
    diary.obeys(CANARY, minute=60, weight=0.5)
    diary.answers("v2", user=1, minute=61, region="FJ")
    diary.answers("v2", user=4, minute=61, region="NZ")
    diary.answers("v3", user=5, minute=61, reason="pinned", region="NZ")
    diary.answers("v2", user=6, minute=61, reason="tagged", region="NZ")
    diary.answers("v1", user=None, minute=61, reason="no_unit", region="NZ")
    store = diary.store()
    found = experiment.find(store, CANARIES, DAY, None)
    slices = experiment.srm_counts(store, found, DAY)
    assert slices == {
        "AU": [SrmCounts(1, 2, 0, 0.1)],
        "NZ": [SrmCounts(1, 0, 1, 0.1), SrmCounts(2, 0, 1, 0.5)],
    }
    assert experiment.together(slices) == [SrmCounts(1, 2, 1, 0.1), SrmCounts(2, 0, 1, 0.5)]


def test_requests_are_units_of_their_own(diary: Diary) -> None:
    diary.obeys(TEST, unit="request", weight=0.25)
    for assigned in ("v1", "v1", "v1", "v2"):
        diary.answers(assigned, user=1, region="AU")
    diary.answers("v1", user=1, region="AU", reason="not_targeted")
    store = diary.store()
    found = experiment.find(store, TESTS, DAY, None)
    assert experiment.srm_counts(store, found, DAY) == {"AU": [SrmCounts(1, 3, 1, 0.25)]}
