"""Sums are equal to sums over the rows, and are selected by scope."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.evidence.latency import bucket_of
from serve_app.recording.records import Exposure, ShadowPair
from serve_app.store import units
from serve_app.store.pair_sums import PairSum
from serve_app.store.scope import EVERYTHING, Scope
from serve_app.store.store import Store
from tests.factories import OTHER_WRITER, WRITER, adoption, batch, exposure, pair, split_adoption
from tests.rows import delete_all

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
        outcome=st.sampled_from(["copied", "failed", "shed"]),
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


def approx(expected: float) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=1e-9)


def record_in_two_batches(store: Store, entries: list[Any]) -> None:
    """Record two batches; the second overlaps the first, and is repeated."""
    half = len(entries) // 2
    store.record(batch(adoption("a", 0), *entries[:half]))
    for _ in range(2):
        store.record(batch(*entries[max(0, half - 3) :]))


@ON_ONE_DATABASE
@given(recorded=exposures)
def test_exposure_sums_are_equal_to_sums_over_the_rows(
    store: Store, url: str, recorded: list[Exposure]
) -> None:
    delete_all(url)
    record_in_two_batches(store, recorded)
    keys = ("assigned", "region", "reason", "label", "error")
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
        assert total.latency_ms_sum == approx(sum(e.latency_ms for e in rows))
        model_ms = [ms for e in rows if (ms := e.model_ms) is not None and e.error is None]
        assert (total.model_ms_count, total.model_ms_sum) == (len(model_ms), approx(sum(model_ms)))
        assert total.confidence_sum == approx(sum(e.confidence or 0 for e in rows))


@ON_ONE_DATABASE
@given(recorded=pairs)
def test_pair_sums_are_equal_to_sums_over_the_rows(
    store: Store, url: str, recorded: list[ShadowPair]
) -> None:
    delete_all(url)
    record_in_two_batches(store, recorded)
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
        latencies = [p.latency_ms for p in rows if p.latency_ms is not None]
        assert (total.latency_ms_count, total.latency_ms_sum) == (
            len(latencies),
            approx(sum(latencies)),
        )
        live_latencies = [p.live_latency_ms for p in rows if p.live_latency_ms is not None]
        assert (total.live_latency_ms_count, total.live_latency_ms_sum) == (
            len(live_latencies),
            approx(sum(live_latencies)),
        )


@ON_ONE_DATABASE
@given(recorded=pairs)
def test_unit_pairs_are_equal_to_sums_over_the_rows(
    store: Store, url: str, recorded: list[ShadowPair]
) -> None:
    delete_all(url)
    record_in_two_batches(store, recorded)
    shared = ("cat", "dog")
    found = store.unit_pairs(EVERYTHING, shared)
    expected: dict[tuple[int, str], list[ShadowPair]] = {}
    for p in recorded:
        if p.outcome != "shed":
            unit = units.hash64(p.unit) if p.unit else 0
            expected.setdefault((unit, p.region or ""), []).append(p)
    keys = list(zip(found.unit.tolist(), found.region.texts().tolist(), strict=True))
    assert sorted(keys) == sorted(expected)
    for place, key in enumerate(keys):
        copied = [p.outcome == "copied" for p in expected[key]]
        assert found.failed[place] == copied.count(False)
        rows = [p for p, is_copied in zip(expected[key], copied, strict=True) if is_copied]
        known = [p for p in rows if p.label in shared and p.live_label is not None]
        both = [
            (p.model_ms, p.live_model_ms)
            for p in rows
            if p.model_ms is not None and p.live_model_ms is not None
        ]
        assert found.pairs[place] == len(rows)
        assert found.new[place] == sum(p.label not in shared for p in rows)
        assert found.compared[place] == len(known)
        assert found.agreed[place] == sum(p.label == p.live_label for p in known)
        assert found.model_ms_count[place] == len(both)
        assert found.model_ms_sum[place] == approx(sum(m for m, _ in both))
        assert found.live_model_ms_sum[place] == approx(sum(live for _, live in both))
        assert found.squared_difference_sum[place] == approx(
            sum((m - live) ** 2 for m, live in both)
        )


@ON_ONE_DATABASE
@given(recorded=pairs)
def test_pair_counts_are_equal_to_counts_over_the_rows(
    store: Store, url: str, recorded: list[ShadowPair]
) -> None:
    delete_all(url)
    record_in_two_batches(store, recorded)
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
def test_histograms_count_each_exposure_in_the_bucket_of_its_latency(
    store: Store, url: str, recorded: list[Exposure]
) -> None:
    delete_all(url)
    record_in_two_batches(store, recorded)
    for kind, field in (("latency", "latency_ms"), ("model", "model_ms")):
        found = store.latency_histograms(EVERYTHING, kind, by=("assigned",))  # type: ignore[arg-type]
        counts: dict[str, Counter[int]] = {}
        for e in recorded:
            own = kind == "latency" or e.error is None  # otherwise it is stable's
            if own and (ms := getattr(e, field)) is not None:
                counts.setdefault(e.assigned or "", Counter())[bucket_of(ms)] += 1
        assert [h.assigned for h in found] == sorted(counts)
        for histogram in found:
            buckets = histogram.buckets.tolist()
            assert (
                dict(zip(buckets, histogram.counts.tolist(), strict=True))
                == counts[histogram.assigned or ""]
            )
            assert buckets == sorted(buckets)


def test_histograms_can_be_grouped_by_time_slot(store: Store) -> None:
    times_ms = {1: 0, 2: MINUTE_MS - 1, 3: MINUTE_MS, 4: 5 * MINUTE_MS}
    store.record(batch(*(exposure(n, at_ms=at_ms) for n, at_ms in times_ms.items())))
    found = store.latency_histograms(EVERYTHING, "latency", by=("assigned",), slot_ms=2 * MINUTE_MS)
    assert [(h.at_ms, h.counts.tolist()) for h in found] == [(0, [3]), (4 * MINUTE_MS, [1])]


def test_fallbacks_are_summed_apart_from_served_assignments(store: Store) -> None:
    """The label of a fallback is stable's, its error is the candidate's."""
    store.record(
        batch(
            exposure(1, assigned="v2", served="v2", label="koala", error=None),
            exposure(2, assigned="v2", served="v1", label="cat", error="too_slow"),
            exposure(3, assigned="v2", served=None, label=None, error="internal"),
        )
    )
    found = store.exposure_sums(EVERYTHING, by=("assigned", "served_as_assigned"))
    assert [(s.served_as_assigned, s.exposures, s.errors, s.fallbacks) for s in found] == [
        (False, 2, 2, 1),
        (True, 1, 0, 0),
    ]


def test_an_empty_store_has_no_sums(store: Store) -> None:
    assert store.exposure_sums(EVERYTHING) == []
    assert store.pair_sums(EVERYTHING, by=("label",)) == []
    assert store.latency_histograms(EVERYTHING, "latency") == []


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
def test_a_scope_selects_what_is_summed(store: Store, scope: Scope, expected: set[int]) -> None:
    """Confidences and latencies are distinct powers of 2, so a total identifies its rows."""
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
    assert sum(s.latency_ms_sum for s in store.pair_sums(scope)) == total
    if scope.regions is None:
        histograms = store.latency_histograms(scope, "latency")
        assert sum(int(h.counts.sum()) for h in histograms) == len(expected)


def test_slots_start_at_multiples_of_their_length(store: Store) -> None:
    store.record(batch(*(exposure(n, at_ms=n * MINUTE_MS) for n in (9, 10, 19, 20))))
    found = store.exposure_sums(EVERYTHING, slot_ms=10 * MINUTE_MS)
    assert [(s.at_ms, s.exposures) for s in found] == [(0, 1), (600_000, 2), (1_200_000, 1)]


def test_the_start_of_a_slot_is_an_integer_beyond_32_bits(store: Store) -> None:
    store.record(batch(exposure(1, at_ms=1_795_848_863_642)))
    (found,) = store.exposure_sums(EVERYTHING, slot_ms=60 * MINUTE_MS)
    assert (found.at_ms, type(found.at_ms)) == (1_795_845_600_000, int)


@pytest.mark.parametrize("slot_ms", [0, 59_999, 90_000])
def test_a_slot_that_is_not_whole_minutes_is_rejected(store: Store, slot_ms: int) -> None:
    with pytest.raises(ValueError, match=f"{slot_ms} ms"):
        store.exposure_sums(EVERYTHING, slot_ms=slot_ms)


def test_an_unknown_key_is_rejected(store: Store) -> None:
    for name in ("user", "minute"):
        with pytest.raises(ValueError, match=f"exposure_sums is not summed by {name}"):
            store.exposure_sums(EVERYTHING, by=(name,))
    with pytest.raises(ValueError, match="latencies can only be grouped by"):
        store.latency_histograms(EVERYTHING, "model", by=("region",))
    with pytest.raises(ValueError, match="latencies can only be grouped by"):
        store.latency_histograms(Scope(regions=["AU"]), "model")


def test_sums_include_all_writers(store: Store) -> None:
    for writer in (WRITER, OTHER_WRITER):
        store.record(batch(split_adoption("koala"), exposure(1), writer=writer))
    assert [s.exposures for s in store.exposure_sums(EVERYTHING)] == [2]


def test_epochs_between_two_times_overlap_the_period(store: Store) -> None:
    store.record(batch(adoption("a", 0), adoption("b", 10), adoption("c", 20)))

    def letters(since_ms: int | None, until_ms: int | None) -> str:
        return "".join(e.rule_id[0] for e in store.epochs_between(since_ms, until_ms))

    assert letters(None, None) == "abc"
    assert letters(10, None) == "bc"
    assert letters(9, 10) == "a"
    assert letters(9, 11) == "ab"
    assert letters(25, 26) == "c"


def test_an_epoch_has_the_experiment_and_unit_of_its_rule(store: Store) -> None:
    store.record(batch(split_adoption("koala", "session"), adoption("b", 10)))
    ab, single = store.epochs_between()
    assert (ab.content["kind"], ab.experiment, ab.unit) == ("ab_test", "koala", "session")
    assert (single.experiment, single.unit) == (None, None)
