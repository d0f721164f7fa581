"""What the sums say is what the rows say."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from serve_app.domain import Exposure, ShadowPair
from serve_app.evidence.latency import bucket_of
from serve_app.recording.batch import Adoption
from serve_app.store import schema, units
from serve_app.store.pair_sums import PairSum
from serve_app.store.scope import EVERYTHING, Scope
from serve_app.store.store import Store
from tests.contract.store.examples import (
    OTHER_WRITER,
    WRITER,
    adoption,
    batch,
    empty,
    exposure,
    pair,
)

MINUTE_MS = 60_000
ON_ONE_DATABASE = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
durations = st.floats(0.01, 5_000)
versions = st.sampled_from(["v1", "v2", None])

exposures = st.lists(
    st.builds(
        exposure,
        st.integers(1, 60),
        at_ms=st.integers(0, 3 * MINUTE_MS),
        rule_id=st.sampled_from(["aaaaaaaa", "bbbbbbbb"]),
        assigned=versions,
        served=versions,
        region=st.sampled_from(["AU", "NZ", None]),
        reason=st.sampled_from(["split", "tagged"]),
        label=st.sampled_from(["cat", "koala", None]),
        confidence=st.none() | st.floats(0, 1),
        latency_ms=durations,
        model_ms=st.none() | durations,
        error=st.sampled_from(["too_slow", None]),
    ),
    max_size=20,
    unique_by=lambda e: e.sequence,
)
pairs = st.lists(
    st.builds(
        pair,
        st.integers(1, 60),
        at_ms=st.integers(0, 3 * MINUTE_MS),
        outcome=st.sampled_from(["copied", "shed"]),
        error=st.sampled_from(["full", None]),
        probability=st.floats(0.01, 1),
        label=st.sampled_from(["cat", "koala", None]),
        live_label=st.sampled_from(["cat", None]),
        latency_ms=st.none() | durations,
        model_ms=st.none() | durations,
        live_model_ms=st.none() | durations,
        live_latency_ms=st.none() | durations,
    ),
    max_size=20,
    unique_by=lambda p: p.sequence,
)


def near(expected: float) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=1e-9)


def in_two_batches(store: Store, entries: list[Any]) -> None:
    """The second overlaps the first, and comes twice."""
    half = len(entries) // 2
    store.record(batch(adoption("a", 0), *entries[:half]))
    for _ in range(2):
        store.record(batch(*entries[max(0, half - 3) :]))


@ON_ONE_DATABASE
@given(recorded=exposures)
def test_sums_of_exposures_are_those_of_their_rows(
    store: Store, url: str, recorded: list[Exposure]
) -> None:
    empty(url)
    in_two_batches(store, recorded)
    keys = ("assigned", "region", "reason", "label")
    found = store.exposure_sums(EVERYTHING, by=keys, slot_ms=MINUTE_MS)
    expected: dict[tuple[Any, ...], list[Exposure]] = {}
    for e in recorded:
        key = (e.at_ms // MINUTE_MS * MINUTE_MS, *(getattr(e, name) or "" for name in keys))
        expected.setdefault(key, []).append(e)
    by_key = {(s.at_ms, *(getattr(s, name) for name in keys)): s for s in found}
    assert list(by_key) == sorted(expected)
    for key, rows in expected.items():
        total = by_key[key]
        assert total.exposures == len(rows)
        assert total.errors == sum(e.error is not None for e in rows)
        assert total.fallbacks == sum(bool(e.error and e.served) for e in rows)
        assert total.latency_sum == near(sum(e.latency_ms for e in rows))
        modelled = [ms for e in rows if (ms := e.model_ms) is not None and e.error is None]
        assert (total.modelled, total.model_sum) == (len(modelled), near(sum(modelled)))
        assert total.confidence_sum == near(sum(e.confidence or 0 for e in rows))


@ON_ONE_DATABASE
@given(recorded=pairs)
def test_sums_of_pairs_are_those_of_their_rows(
    store: Store, url: str, recorded: list[ShadowPair]
) -> None:
    empty(url)
    in_two_batches(store, recorded)
    found = store.pair_sums(EVERYTHING, by=("outcome", "live_label", "label", "error"))
    expected: dict[tuple[Any, ...], list[ShadowPair]] = {}
    for p in recorded:
        key = (p.live_label or "", p.label or "", p.outcome, p.error or "")
        expected.setdefault(key, []).append(p)
    by_key: dict[tuple[Any, ...], PairSum] = {
        (s.live_label, s.label, s.outcome, s.error): s for s in found
    }
    assert list(by_key) == sorted(expected)
    for sums, rows in expected.items():
        total = by_key[sums]
        assert (total.pairs, total.candidate) == (len(rows), None)
        timed = [p.latency_ms for p in rows if p.latency_ms is not None]
        assert (total.timed, total.latency_sum) == (len(timed), near(sum(timed)))
        lived = [p.live_latency_ms for p in rows if p.live_latency_ms is not None]
        assert (total.lived, total.live_latency_sum) == (len(lived), near(sum(lived)))


@ON_ONE_DATABASE
@given(recorded=pairs)
def test_sums_of_pairs_by_unit_are_those_of_their_rows(
    store: Store, url: str, recorded: list[ShadowPair]
) -> None:
    empty(url)
    in_two_batches(store, recorded)
    shared = ("cat", "dog")
    found = store.unit_pairs(EVERYTHING, shared)
    expected: dict[tuple[int, str], list[ShadowPair]] = {}
    for p in recorded:
        if p.outcome == "copied":
            unit = units.number(p.unit) if p.unit else 0
            expected.setdefault((unit, p.region or ""), []).append(p)
    keys = list(zip(found.unit.tolist(), found.region.texts().tolist(), strict=True))
    assert sorted(keys) == sorted(expected)
    for place, key in enumerate(keys):
        rows = expected[key]
        known = [p for p in rows if p.label in shared and p.live_label is not None]
        both = [
            (p.model_ms, p.live_model_ms)
            for p in rows
            if p.model_ms is not None and p.live_model_ms is not None
        ]
        assert found.pairs[place] == len(rows)
        assert found.new[place] == sum(p.label not in shared for p in rows)
        assert found.asked[place] == len(known)
        assert found.same[place] == sum(p.label == p.live_label for p in known)
        assert found.paired[place] == len(both)
        assert found.model_sum[place] == near(sum(m for m, _ in both))
        assert found.live_model_sum[place] == near(sum(live for _, live in both))
        assert found.difference_squares[place] == near(sum((m - live) ** 2 for m, live in both))


@ON_ONE_DATABASE
@given(recorded=pairs)
def test_counts_of_pairs_are_those_of_their_rows(
    store: Store, url: str, recorded: list[ShadowPair]
) -> None:
    empty(url)
    in_two_batches(store, recorded)
    found = store.pair_counts()
    texts = (found.region, found.live_label, found.label, found.outcome)
    keys = zip(found.minute.tolist(), *(column.texts().tolist() for column in texts), strict=True)
    assert dict(zip(keys, found.pairs.tolist(), strict=True)) == Counter(
        (p.at_ms // MINUTE_MS, p.region or "", p.live_label or "", p.label or "", p.outcome)
        for p in recorded
    )
    assert found.minute.tolist() == sorted(found.minute.tolist())
    cats = found.live_label.equals("cat")
    assert found.pairs[cats].sum() == sum(p.live_label == "cat" for p in recorded)
    assert store.pair_counts(Scope(until_ms=MINUTE_MS)).pairs.sum() == sum(
        p.at_ms < MINUTE_MS for p in recorded
    )


@ON_ONE_DATABASE
@given(recorded=exposures)
def test_histograms_have_every_exposure_in_the_bucket_of_its_duration(
    store: Store, url: str, recorded: list[Exposure]
) -> None:
    empty(url)
    in_two_batches(store, recorded)
    for kind, field in (("latency", "latency_ms"), ("model", "model_ms")):
        found = store.latencies(EVERYTHING, kind, by=("assigned",))  # type: ignore[arg-type]
        counts: dict[str, Counter[int]] = {}
        for e in recorded:
            own = kind == "latency" or e.error is None  # else stable's
            if own and (ms := getattr(e, field)) is not None:
                counts.setdefault(e.assigned or "", Counter())[bucket_of(ms)] += 1
        assert [h.assigned for h in found] == sorted(counts)
        for histogram in found:
            told = dict(zip(histogram.buckets.tolist(), histogram.counts.tolist(), strict=True))
            assert told == counts[histogram.assigned or ""]
            assert list(histogram.buckets) == sorted(told)


def test_histograms_of_slots_have_their_own_exposures(store: Store) -> None:
    times_ms = {1: 0, 2: MINUTE_MS - 1, 3: MINUTE_MS, 4: 5 * MINUTE_MS}
    store.record(batch(*(exposure(n, at_ms=at_ms) for n, at_ms in times_ms.items())))
    found = store.latencies(EVERYTHING, "latency", by=("assigned",), slot_ms=2 * MINUTE_MS)
    assert [(h.at_ms, h.counts.tolist()) for h in found] == [(0, [3]), (4 * MINUTE_MS, [1])]


def test_an_answer_by_another_version_is_a_fallback_and_told_apart(store: Store) -> None:
    """Its label is stable's, its failure is the candidate's."""
    store.record(
        batch(
            exposure(1, assigned="v2", served="v2", label="koala", error=None),
            exposure(2, assigned="v2", served="v1", label="cat", error="too_slow"),
            exposure(3, assigned="v2", served=None, label=None, error="internal"),
        )
    )
    own, other = reversed(store.exposure_sums(EVERYTHING, by=("assigned", "as_assigned")))
    assert (own.as_assigned, own.exposures, own.errors, own.fallbacks) == (True, 1, 0, 0)
    assert (other.as_assigned, other.exposures, other.errors, other.fallbacks) == (False, 2, 2, 1)


def test_sums_that_nothing_is_in_are_none_at_all(store: Store) -> None:
    assert store.exposure_sums(EVERYTHING) == []
    assert store.pair_sums(EVERYTHING, by=("label",)) == []
    assert store.latencies(EVERYTHING, "latency") == []


SCOPES = [
    (Scope(), {1, 2, 3, 4}),
    (Scope(since_ms=2 * MINUTE_MS), {3, 4}),
    (Scope(since_ms=2 * MINUTE_MS + 59_999), {3, 4}),
    (Scope(until_ms=2 * MINUTE_MS), {1, 2}),
    (Scope(since_ms=MINUTE_MS, until_ms=3 * MINUTE_MS), {2, 3}),
    (Scope(epochs=[1]), {1, 2}),
    (Scope(epochs=[2]), {3}),
    (Scope(epochs=[0]), {4}),
    (Scope(epochs=[]), set()),
    (Scope(rule_ids=["bbbbbbbb"]), {3}),
    (Scope(regions=["NZ"]), {2, 3}),
    (Scope(regions=["", "AU"]), {1, 4}),
    (Scope(epochs=[1], regions=["NZ"], until_ms=2 * MINUTE_MS), {2}),
]


@pytest.mark.parametrize(("scope", "expected"), SCOPES, ids=map(str, range(len(SCOPES))))
def test_only_what_is_in_scope_is_summed(store: Store, scope: Scope, expected: set[int]) -> None:
    """Each exposure has a confidence, and each pair a latency, that tells which they are."""
    facts: dict[int, dict[str, Any]] = {
        1: {"at_ms": 30_000, "region": "AU", "rule_id": "aaaaaaaa"},
        2: {"at_ms": MINUTE_MS, "region": "NZ", "rule_id": "aaaaaaaa"},
        3: {"at_ms": 2 * MINUTE_MS, "region": "NZ", "rule_id": "bbbbbbbb"},
        4: {"at_ms": 3 * MINUTE_MS, "region": None, "rule_id": "cccccccc"},
    }
    store.record(
        batch(
            adoption("a", 0),
            adoption("b", 2 * MINUTE_MS),
            *(exposure(n, confidence=2.0**-n, **fact) for n, fact in facts.items()),
            *(pair(n, latency_ms=2.0**-n, **fact) for n, fact in facts.items()),
        )
    )
    total = sum(2.0**-n for n in expected)
    assert sum(s.confidence_sum for s in store.exposure_sums(scope)) == total
    assert sum(s.latency_sum for s in store.pair_sums(scope)) == total
    if scope.regions is None:
        histograms = store.latencies(scope, "latency")
        assert sum(int(h.counts.sum()) for h in histograms) == len(expected)


def test_slots_begin_at_multiples_of_their_length(store: Store) -> None:
    store.record(batch(*(exposure(n, at_ms=n * MINUTE_MS) for n in (9, 10, 19, 20))))
    found = store.exposure_sums(EVERYTHING, slot_ms=10 * MINUTE_MS)
    assert [(s.at_ms, s.exposures) for s in found] == [(0, 1), (600_000, 2), (1_200_000, 1)]


def test_a_slot_of_today_begins_at_a_whole_number(store: Store) -> None:
    """Of milliseconds, which are more than 32 bits hold."""
    store.record(batch(exposure(1, at_ms=1_795_848_863_642)))
    (found,) = store.exposure_sums(EVERYTHING, slot_ms=60 * MINUTE_MS)
    assert (found.at_ms, type(found.at_ms)) == (1_795_845_600_000, int)


@pytest.mark.parametrize("slot_ms", [0, 59_999, 90_000])
def test_a_slot_that_is_not_of_whole_minutes_is_rejected(store: Store, slot_ms: int) -> None:
    with pytest.raises(ValueError, match=f"{slot_ms} ms"):
        store.exposure_sums(EVERYTHING, slot_ms=slot_ms)


def test_a_key_that_is_not_summed_by_is_rejected(store: Store) -> None:
    for name in ("user", "minute"):
        with pytest.raises(ValueError, match=f"exposure_sums is not summed by {name}"):
            store.exposure_sums(EVERYTHING, by=(name,))
    with pytest.raises(ValueError, match="latencies are kept by"):
        store.latencies(EVERYTHING, "model", by=("region",))
    with pytest.raises(ValueError, match="latencies are kept by"):
        store.latencies(Scope(regions=["AU"]), "model")


def split(experiment: str, unit: str, at_ms: int, rule_id: str) -> Adoption:
    content = {"kind": "ab_test", "experiment": experiment, "unit": unit}
    return Adoption(at_ms, rule_id, json.dumps(content))


def units_of(
    store: Store, experiment: str, scope: Scope = EVERYTHING
) -> dict[tuple[int, str], Any]:
    """(unit, version) -> exposures, errors, fallbacks, latency_sum, modelled, model_sum."""
    found = store.unit_sums(experiment, scope)
    keys = zip(
        found.unit.tolist(), (found.assigned.names[c] for c in found.assigned.codes), strict=True
    )
    numbers = (
        found.exposures,
        found.errors,
        found.fallbacks,
        found.latency_sum,
        found.modelled,
        found.model_sum,
    )
    return dict(zip(keys, zip(*(n.tolist() for n in numbers), strict=True), strict=True))


ANNA, BERT = "00000000000000ff" + "0" * 16, "ffffffffffffffff" + "1" * 16
ANNA_NUMBER, BERT_NUMBER = 255 - 2**63, 2**63 - 1
DAY_MS = 86_400_000


class TestUnits:
    def test_what_a_unit_met_is_summed_by_version(self, store: Store) -> None:
        fine = {"user": ANNA, "served": "v2", "error": None, "latency_ms": 4.0, "model_ms": 2.5}
        store.record(
            batch(
                split("koala", "user", 0, "aaaaaaaa"),
                exposure(1, **fine),
                exposure(2, user=ANNA, latency_ms=8.0, model_ms=None),
                exposure(3, user=ANNA, served=None, latency_ms=1.0, model_ms=None),
                exposure(4, user=BERT, assigned="v1", error=None, latency_ms=2.0, model_ms=1.0),
            )
        )
        store.record(batch(exposure(5, **fine), exposure(1, **fine)))
        assert units_of(store, "koala") == {
            (ANNA_NUMBER, "v2"): (4, 2, 1, 17.0, 2, 5.0),
            (BERT_NUMBER, "v1"): (1, 0, 0, 2.0, 1, 1.0),
        }

    @pytest.mark.parametrize(
        ("unit", "expected"), [("user", {ANNA_NUMBER}), ("session", {BERT_NUMBER})]
    )
    def test_the_rule_says_who_the_unit_is(
        self, store: Store, unit: str, expected: set[int]
    ) -> None:
        one = exposure(1, user=ANNA, session=BERT)
        store.record(batch(split("koala", unit, 0, "aaaaaaaa"), one))
        assert set(store.unit_sums("koala").unit.tolist()) == expected

    @pytest.mark.parametrize(
        ("unit", "changes"),
        [
            ("request", {}),
            ("user", {"user": None}),
            ("user", {"reason": "tagged"}),
            ("user", {"reason": "not_ready"}),
            ("user", {"rule_id": "bbbbbbbb"}),
        ],
    )
    def test_what_the_split_did_not_decide_is_not_counted(
        self, store: Store, unit: str, changes: dict[str, Any]
    ) -> None:
        store.record(batch(split("koala", unit, 0, "aaaaaaaa"), exposure(1, **changes)))
        assert units_of(store, "koala") == {}
        assert store.first_assignments("koala") == []

    def test_each_experiment_has_units_of_its_own(self, store: Store) -> None:
        store.record(
            batch(
                split("koala", "user", 0, "aaaaaaaa"),
                split("panda", "user", 10, "bbbbbbbb"),
                exposure(1, at_ms=5, user=ANNA),
                exposure(2, at_ms=15, user=BERT, rule_id="bbbbbbbb"),
            )
        )
        assert {unit for unit, _ in units_of(store, "koala")} == {ANNA_NUMBER}
        assert {unit for unit, _ in units_of(store, "panda")} == {BERT_NUMBER}
        assert units_of(store, "lynx") == {}

    def test_epochs_and_days_are_told_apart(self, store: Store) -> None:
        store.record(
            batch(
                split("koala", "user", 0, "aaaaaaaa"),
                split("koala", "user", DAY_MS, "bbbbbbbb"),
                exposure(1, at_ms=5, latency_ms=1.0),
                exposure(2, at_ms=DAY_MS, rule_id="bbbbbbbb", latency_ms=2.0),
                exposure(3, at_ms=2 * DAY_MS - 1, rule_id="bbbbbbbb", latency_ms=4.0),
                exposure(4, at_ms=2 * DAY_MS, rule_id="bbbbbbbb", latency_ms=8.0),
            )
        )
        found = store.unit_sums("koala")
        periods = zip(found.epoch.tolist(), found.day.tolist(), found.latency_sum, strict=True)
        assert sorted(periods) == [(1, 0, 1.0), (2, 1, 6.0), (2, 2, 8.0)]

        def latency(scope: Scope) -> float:
            return float(store.unit_sums("koala", scope).latency_sum.sum())

        assert latency(EVERYTHING) == 15
        assert latency(Scope(epochs=[1])) == 1
        assert latency(Scope(epochs=[2])) == 14
        assert latency(Scope(since_ms=DAY_MS + 5)) == 14
        assert latency(Scope(until_ms=2 * DAY_MS)) == 7
        assert latency(Scope(rule_ids=["bbbbbbbb"])) == 14

    def test_a_unit_keeps_the_region_of_its_first_assignment(self, store: Store) -> None:
        """A traveller changes no stratum; what arrives late may have come first."""
        store.record(
            batch(split("koala", "user", 0, "aaaaaaaa"), exposure(2, at_ms=20, region="NZ"))
        )
        store.record(batch(exposure(1, at_ms=10, region="AU")))
        store.record(batch(exposure(3, at_ms=30, region="FJ")))
        found = store.unit_sums("koala")
        assert found.region.names == ("AU",)
        assert store.unit_sums("koala", Scope(regions=["AU"])).exposures.tolist() == [3]
        assert store.unit_sums("koala", Scope(regions=["NZ"])).exposures.tolist() == []

    def test_a_unit_whose_first_assignment_was_removed_has_no_region(
        self, store: Store, url: str
    ) -> None:
        store.record(
            batch(
                split("koala", "user", 0, "aaaaaaaa"),
                exposure(1, user=ANNA, region="AU", latency_ms=1.0),
                exposure(2, user=BERT, region="NZ", latency_ms=2.0),
            )
        )
        engine = create_engine(url)
        with engine.begin() as connection:
            firsts = schema.first_assignments
            connection.execute(firsts.delete().where(firsts.c.unit == ANNA_NUMBER))
        found = store.unit_sums("koala")
        regions = [found.region.names[code] for code in found.region.codes]
        told = zip(found.unit.tolist(), regions, strict=True)
        assert set(told) == {(ANNA_NUMBER, ""), (BERT_NUMBER, "NZ")}
        assert store.unit_sums("koala", Scope(regions=[""])).latency_sum.tolist() == [1.0]
        with engine.begin() as connection:
            connection.execute(firsts.delete())
        engine.dispose()
        assert store.unit_sums("koala").region.names == ("",)

    def test_the_first_assignment_of_each_unit_can_be_listed(self, store: Store) -> None:
        """Also of those of whom nobody has heard since."""
        store.record(
            batch(
                split("koala", "user", 0, "aaaaaaaa"),
                exposure(1, at_ms=20, user=BERT, assigned="v2", region=None),
                exposure(2, at_ms=10, user=ANNA, assigned="v1", region="NZ"),
                exposure(3, at_ms=30, user=ANNA, assigned="v2", region="AU"),
            )
        )
        found = store.assignments("koala")
        assert found.unit.tolist() == [ANNA_NUMBER, BERT_NUMBER]
        assert (found.epoch.tolist(), found.at_ms.tolist()) == ([1, 1], [10, 20])
        assert [found.version.names[c] for c in found.version.codes] == ["v1", "v2"]
        assert [found.region.names[c] for c in found.region.codes] == ["NZ", ""]
        assert store.assignments("koala", Scope(since_ms=11)).unit.tolist() == [BERT_NUMBER]
        assert store.assignments("lynx").unit.tolist() == []

    def test_some_rows_can_be_taken_out_of_all_columns(self, store: Store) -> None:
        store.record(
            batch(
                split("koala", "user", 0, "aaaaaaaa"),
                exposure(1, user=ANNA, assigned="v1"),
                exposure(2, user=BERT, assigned="v2"),
            )
        )
        found = store.unit_sums("koala")
        bert = found.only(found.unit == BERT_NUMBER)
        assert (bert.unit.tolist(), bert.exposures.tolist()) == ([BERT_NUMBER], [1])
        assert [bert.assigned.names[code] for code in bert.assigned.codes] == ["v2"]

    def test_a_unit_is_counted_where_it_was_assigned_first(self, store: Store) -> None:
        """A later epoch assigns it anew, and is not told of it."""
        store.record(
            batch(
                split("koala", "user", 0, "aaaaaaaa"),
                split("koala", "user", 100, "bbbbbbbb"),
                exposure(1, at_ms=50, user=ANNA, assigned="v1", region=None),
                exposure(2, at_ms=150, user=ANNA, assigned="v2", rule_id="bbbbbbbb"),
                exposure(3, at_ms=150, user=BERT, assigned="v2", rule_id="bbbbbbbb"),
            )
        )
        firsts = store.first_assignments("koala")
        assert [(f.epoch, f.version, f.region, f.units) for f in firsts] == [
            (1, "v1", "", 1),
            (2, "v2", "AU", 1),
        ]
        assert store.first_assignments("koala", Scope(regions=["AU"])) == firsts[1:]
        assert store.first_assignments("koala", Scope(since_ms=51)) == firsts[1:]
        assert store.first_assignments("koala", Scope(epochs=[1])) == firsts[:1]


def test_two_writers_add_up(store: Store) -> None:
    for writer in (WRITER, OTHER_WRITER):
        store.record(batch(split("koala", "user", 0, "aaaaaaaa"), exposure(1), writer=writer))
    assert [s.exposures for s in store.exposure_sums(EVERYTHING)] == [2]
    assert store.unit_sums("koala").exposures.tolist() == [2]


def test_epochs_are_found_by_when_they_lasted(store: Store) -> None:
    store.record(batch(adoption("a", 0), adoption("b", 10), adoption("c", 20)))

    def found(since_ms: int | None, until_ms: int | None) -> str:
        return "".join(e.rule_id[0] for e in store.epochs_within(since_ms, until_ms))

    assert found(None, None) == "abc"
    assert found(10, None) == "bc"
    assert found(9, 10) == "a"
    assert found(9, 11) == "ab"
    assert found(25, 26) == "c"


def test_an_epoch_tells_what_its_rule_splits(store: Store) -> None:
    store.record(batch(split("koala", "session", 0, "aaaaaaaa"), adoption("b", 10)))
    ab, single = store.epochs_within()
    assert (ab.content["kind"], ab.experiment, ab.unit) == ("ab_test", "koala", "session")
    assert (single.experiment, single.unit) == (None, None)
