"""The first assignments of units, and the sums of what happened to them at a fixed age."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.recording.batch import Adoption
from serve_app.recording.records import Exposure
from serve_app.rules.bucket import bucket
from serve_app.rules.parse import read_rule
from serve_app.rules.split import Split
from serve_app.store.scope import EVERYTHING, Scope
from serve_app.store.store import Store
from serve_app.store.units import ExperimentUnits, hash64
from tests.factories import OTHER_WRITER, batch, exposure, split_adoption
from tests.rows import contents, delete_all

ANNA, BERT = "00000000000000ff" + "0" * 16, "ffffffffffffffff" + "1" * 16
ANNA_NUMBER, BERT_NUMBER = 255 - 2**63, 2**63 - 1
SECOND_MS = 1000
SETTLE_S = 16  # slots of two seconds
SETTLE_MS = SETTLE_S * SECOND_MS
SETTLE: dict[str, Any] = {"settle": f"{SETTLE_S}s"}
TEXTS = ("version", "region")


def digest_of(adoption: Adoption) -> str:
    """The digest of the terms of an adopted rule."""
    terms = read_rule(json.loads(adoption.rule)).experiment_terms
    assert terms
    return terms.digest


KOALA = split_adoption("koala", **SETTLE)
DIGEST = digest_of(KOALA)


def read(store: Store, scope: Scope = EVERYTHING, digest: str = DIGEST) -> list[dict[str, Any]]:
    """The units, one dictionary each."""
    return rows(store.experiment_units(digest, SETTLE_MS, scope))


def rows(found: ExperimentUnits) -> list[dict[str, Any]]:
    columns = {
        field.name: (
            getattr(found, field.name).texts()
            if field.name in TEXTS
            else getattr(found, field.name)
        ).tolist()
        for field in fields(found)
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def expected_units(exposures: Iterable[Exposure]) -> list[dict[str, Any]]:
    """The units of one experiment, computed from its exposures; epoch 1 is rule aaaaaaaa."""
    by_unit: dict[int, list[Exposure]] = {}
    for one in exposures:
        by_unit.setdefault(hash64(one.user), []).append(one)
    return [_expected_unit(unit, by_unit[unit]) for unit in sorted(by_unit)]


def epoch_of(one: Exposure) -> int:
    return 1 if one.rule_id == "aaaaaaaa" else 2


def _expected_unit(unit: int, own: list[Exposure]) -> dict[str, Any]:
    first = min(
        own, key=lambda e: (e.at_ms, epoch_of(e), e.latency_ms, e.assigned or "", e.region or "")
    )
    slot = SETTLE_MS // 8
    start = first.at_ms // slot * slot
    early = [e for e in own if e.at_ms // slot * slot < start + SETTLE_MS]
    later = [e for e in own if start + SETTLE_MS <= e.at_ms // slot * slot < start + 2 * SETTLE_MS]
    same = [e for e in early if epoch_of(e) == epoch_of(first)]
    timed = [e.own_model_ms for e in early if e.own_model_ms is not None]
    return {
        "unit": unit,
        "at_ms": first.at_ms,
        "epoch": epoch_of(first),
        "version": first.assigned or "",
        "region": first.region or "",
        "bucket": pytest.approx(bucket("koala", first.user or ""), abs=1e-12),
        "first_latency_ms": first.latency_ms,
        "exposures": len(early),
        "errors": sum(e.error is not None for e in early),
        "latency_ms_sum": pytest.approx(sum(e.latency_ms for e in early)),
        "max_latency_ms": max(e.latency_ms for e in early),
        "model_ms_count": len(timed),
        "model_ms_sum": pytest.approx(sum(timed)),
        "own_epoch_errors": sum(e.error is not None for e in same),
        "own_epoch_max_latency_ms": max(e.latency_ms for e in same),
        "later_exposures": len(later),
    }


exposures = st.lists(
    st.builds(
        exposure,
        st.integers(1, 60),
        at_ms=st.integers(0, 4 * SETTLE_S).map(lambda s: s * SECOND_MS),  # with ties
        rule_id=st.sampled_from(["aaaaaaaa", "bbbbbbbb"]),
        assigned=st.sampled_from(["v1", "v2"]),
        served=st.just("v2"),
        user=st.sampled_from([ANNA, BERT]),
        region=st.sampled_from(["AU", None]),
        latency_ms=st.integers(1, 50).map(float),
        model_ms=st.none() | st.integers(1, 9).map(float),
        error=st.sampled_from(["too_slow", None]),
    ),
    min_size=1,
    max_size=15,
    unique_by=lambda e: e.sequence,
)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(exposures, st.lists(st.integers(1, 4), max_size=6), st.data())
def test_units_do_not_depend_on_the_order_of_delivery(
    store: Store, url: str, delivered: list[Exposure], sizes: list[int], data: st.DataObject
) -> None:
    """They equal what the exposures say, however these are split into batches or repeated."""
    adoptions = (KOALA, split_adoption("koala", at_ms=5, rule_id="bbbbbbbb", weight=0.25, **SETTLE))
    delete_all(url)
    store.record(batch(*adoptions, *delivered))
    assert read(store) == expected_units(delivered)
    in_order = contents(url)
    delete_all(url)
    store.record(batch(*adoptions))
    waiting = data.draw(st.permutations(delivered))
    for size in [*sizes, len(waiting)]:
        part, waiting = waiting[:size], waiting[size:]
        store.record(batch(*part))
        store.record(batch(*part[:1]))
    shuffled = contents(url)
    for name in ("unit_sums", "first_assignments", "exposure_sums", "exposures"):
        assert shuffled[name] == in_order[name]
    last_ms = {u["unit"]: u["at_ms"] // 2000 * 2000 + 2 * SETTLE_MS for u in read(store)}
    assert all(from_ms < last_ms[unit] for _, unit, _, from_ms, *_ in in_order["unit_sums"])


class TestWhatCounts:
    @pytest.mark.parametrize(
        ("unit", "expected"), [("user", [ANNA_NUMBER]), ("session", [BERT_NUMBER])]
    )
    def test_the_unit_is_the_one_of_the_rule(
        self, store: Store, unit: str, expected: list[int]
    ) -> None:
        adopted = split_adoption("koala", unit, **SETTLE)
        store.record(batch(adopted, exposure(1, user=ANNA, session=BERT)))
        assert [u["unit"] for u in read(store, digest=digest_of(adopted))] == expected

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
    def test_exposures_that_the_split_did_not_assign_are_not_summed(
        self, store: Store, url: str, unit: str, changes: dict[str, Any]
    ) -> None:
        store.record(batch(split_adoption("koala", unit, **SETTLE), exposure(1, **changes)))
        assert contents(url)["unit_sums"] == contents(url)["first_assignments"] == []

    def test_an_experiment_is_identified_by_its_terms(self, store: Store) -> None:
        """Other versions under the same name are another experiment, with its own units."""
        other = split_adoption("koala", at_ms=10, rule_id="bbbbbbbb", treatment="v3", **SETTLE)
        store.record(
            batch(
                KOALA,
                other,
                exposure(1, at_ms=5, user=ANNA),
                exposure(2, at_ms=15, user=ANNA, rule_id="bbbbbbbb", assigned="v3"),
            )
        )
        assert [(u["at_ms"], u["version"]) for u in read(store)] == [(5, "v2")]
        of_other = read(store, digest=digest_of(other))
        assert [(u["at_ms"], u["version"]) for u in of_other] == [(15, "v3")]
        assert read(store, digest="0" * 16) == []

    def test_a_rule_of_a_removed_strategy_has_no_units(self, store: Store, url: str) -> None:
        removed = Adoption(0, "aaaaaaaa", json.dumps({"kind": "bandit", "unit": "user"}))
        store.record(batch(removed, exposure(1)))
        assert contents(url)["unit_sums"] == []
        assert len(contents(url)["exposures"]) == 1


class TestScopes:
    def test_units_are_selected_by_their_first_assignment(self, store: Store) -> None:
        later = split_adoption("koala", at_ms=100, rule_id="bbbbbbbb", weight=0.25, **SETTLE)
        store.record(
            batch(
                KOALA,
                later,
                exposure(1, at_ms=50, user=ANNA, assigned="v1", region=None),
                exposure(2, at_ms=150, user=ANNA, assigned="v2", rule_id="bbbbbbbb"),
                exposure(3, at_ms=150, user=BERT, assigned="v2", rule_id="bbbbbbbb"),
            )
        )

        def units(scope: Scope) -> list[int]:
            return [u["unit"] for u in read(store, scope)]

        assert units(EVERYTHING) == [ANNA_NUMBER, BERT_NUMBER]
        assert units(Scope(since_ms=51)) == [BERT_NUMBER]
        assert units(Scope(until_ms=51)) == [ANNA_NUMBER]
        assert units(Scope(epochs=[2])) == [BERT_NUMBER]
        assert units(Scope(regions=["AU"])) == [BERT_NUMBER]
        assert units(Scope(regions=[""])) == [ANNA_NUMBER]
        counts = store.first_assignment_counts(DIGEST)
        assert [(f.epoch, f.version, f.region, f.units) for f in counts] == [
            (1, "v1", "", 1),
            (2, "v2", "AU", 1),
        ]
        assert store.first_assignment_counts(DIGEST, Scope(regions=["AU"])) == counts[1:]
        assert store.first_assignment_counts(DIGEST, Scope(epochs=[1])) == counts[:1]

    def test_units_include_all_writers(self, store: Store) -> None:
        for writer in (OTHER_WRITER, "0123456789ab"):
            store.record(batch(KOALA, exposure(1, user=ANNA), writer=writer))
        assert [u["exposures"] for u in read(store)] == [2]


def test_an_older_rule_without_the_key_settles_after_a_day() -> None:
    rule = read_rule(json.loads(split_adoption("koala").rule))
    assert isinstance(rule, Split)
    assert rule.settle_ms == 86_400_000
