"""Simulated shares match the scenario within the binomial 99.99 % interval."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.recording.batch import Batch
from serve_app.recording.records import Exposure, Feedback, ShadowPair
from serve_app.rules.parse import parse_rule
from serve_app.rules.rule import Rule
from serve_app.traffic.scenario import Scenario, parse_scenario, read_scenario
from tests.simulated import (
    DAY_MS,
    SLOWER_V2,
    START_MS,
    UNKNOWN_LABELS,
    Models,
    complaint_rate,
    simulate,
)
from tests.unit.service import AB, PARALLEL, SHADOW, SINGLE
from tests.unit.traffic.test_population import CONTENT, assert_share

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "docs/scenarios"
BY_USER = AB | {"unit": "user"}


def rule(**content: Any) -> Rule:
    return parse_rule(content, ("v1", "v2"))


@cache
def read_shipped(name: str) -> tuple[Scenario, Rule]:
    """A shipped scenario, and its rule."""
    scenario = read_scenario(FOLDER / f"{name}.yaml")
    return scenario, rule(**scenario.rule or {})


@cache
def simulate_shipped(name: str) -> tuple[Batch, ...]:
    return tuple(simulate(*read_shipped(name), seed=1))


def exposures(batches: tuple[Batch, ...] | list[Batch]) -> list[Exposure]:
    return [exposure for batch in batches for exposure in batch.exposures]


def feedback(batches: tuple[Batch, ...]) -> list[Feedback]:
    return [row for batch in batches for row in batch.feedback]


def pairs(batches: tuple[Batch, ...] | list[Batch]) -> list[ShadowPair]:
    return [pair for batch in batches for pair in batch.pairs]


def test_the_same_seed_gives_the_same_day() -> None:
    scenario = parse_scenario(CONTENT | {"requests": 500})
    first, again, other = (list(simulate(scenario, rule(**BY_USER), seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_exposures_are_numbered_in_order_of_time() -> None:
    scenario = parse_scenario(CONTENT | {"requests": 1000})
    batches = list(simulate(scenario, rule(**BY_USER), 1, batch_size=300))
    found = exposures(batches)
    assert [e.sequence for e in found] == list(range(1, len(found) + 1))
    assert len(found) < 1000  # some users are lost
    assert [len(batch.adoptions) for batch in batches] == [1, 0, 0, 0]
    assert batches[0].adoptions[0].at_ms == START_MS
    assert batches[-1].last_sequence == len(found)
    times = [e.at_ms for e in found]
    assert times == sorted(times)
    assert START_MS <= times[0] < times[-1] < START_MS + DAY_MS


def test_each_user_has_one_version() -> None:
    assigned = {(e.user, e.assigned) for e in exposures(simulate_shipped("nothing"))}
    assert len(assigned) == len({user for user, _ in assigned})
    assert_share([version == "v2" for _, version in assigned], 0.5)


@pytest.mark.parametrize("unit", ["request", "session"])
def test_the_unit_of_the_rule_is_assigned(unit: str) -> None:
    scenario = parse_scenario(CONTENT | {"lost": {}, "requests": 3000})
    regional = rule(**AB, unit=unit, regions=["AU"])
    found = exposures(list(simulate(scenario, regional, 1)))
    assert {e.reason for e in found if e.region != "AU"} == {"not_targeted"}
    by_session = {e.session: e.assigned for e in found if e.reason == "split"}
    targeted = [e for e in found if e.region == "AU"]
    assert_share([v == "v2" for v in by_session.values()], 0.5)
    is_sticky = all(by_session[e.session] == e.assigned for e in targeted)
    assert is_sticky == (unit == "session")


def test_v1_never_predicts_koala() -> None:
    found = exposures(simulate_shipped("koalas-in-australia"))
    assert {e.served for e in found} == {"v1"}
    assert {e.label for e in found} == {"cat", "dog"}
    truths = {row.sequence: row.label for row in feedback(simulate_shipped("koalas-in-australia"))}
    koala_labels = [e.label for e in found if truths.get(e.sequence) == "koala"]
    is_right = [
        e.label == truths[e.sequence] for e in found if truths.get(e.sequence) in ("cat", "dog")
    ]
    assert_share([label == "dog" for label in koala_labels], UNKNOWN_LABELS["v1", "koala"]["dog"])
    assert_share(is_right, 0.91)


def test_shadow_pairs_follow_the_koalas_by_region_and_hour() -> None:
    """v2 predicts koala for 90 % of the koalas and for 5 % of the other images."""
    copied = pairs(simulate_shipped("koalas-in-australia"))
    assert len(copied) == 20_000
    for region, hours, share in (
        ("DE", range(24), 0.0),
        ("AU", (7, 8, 9, 10), 0.6),
        ("NZ", (0, 1, 2), 0.3),
    ):
        in_region = [p for p in copied if p.region == region]
        in_hours = [p for p in in_region if (p.at_ms - START_MS) // 3_600_000 % 24 in hours]
        assert_share([p.label == "koala" for p in in_hours], 0.9 * share + 0.05 * (1 - share))


def test_a_shadow_pair_has_the_fields_of_its_exposure() -> None:
    live = {e.sequence: e for e in exposures(simulate_shipped("koalas-in-australia"))}
    for pair in pairs(simulate_shipped("koalas-in-australia"))[:500]:
        exposure = live[pair.sequence]
        assert (pair.region, pair.live_version, pair.live_label) == (
            exposure.region,
            "v1",
            exposure.label,
        )
        assert (pair.live_latency_ms, pair.live_model_ms) == (
            exposure.latency_ms,
            exposure.model_ms,
        )
        assert pair.at_ms >= exposure.at_ms


def test_a_shadow_copies_its_sample_and_some_copies_fail() -> None:
    models = Models(errors={"v2": 0.2})
    scenario = parse_scenario(CONTENT | {"lost": {}})
    batches = list(simulate(scenario, rule(**SHADOW, sample=0.5), 1, models))
    found = pairs(batches)
    assert_share(np.arange(20_000) < len(found), 0.5)
    assert_share([p.outcome == "failed" for p in found], 0.2)
    assert {p.probability for p in found} == {0.5}
    assert {(p.outcome, p.label is None, p.error) for p in found} == {
        ("failed", True, "internal"),
        ("copied", False, None),
    }
    assert {e.error for e in exposures(batches)} == {None}


@pytest.mark.parametrize("name", ["users-prefer-v2", "users-dislike-v2", "nothing", "lost-users"])
def test_the_complaint_rate_matches_the_scenario(name: str) -> None:
    scenario, _ = read_shipped(name)
    assert scenario.feedback
    found = feedback(simulate_shipped(name))
    assert_share(
        np.arange(len(exposures(simulate_shipped(name)))) < len(found), scenario.feedback.coverage
    )
    for version in ("v1", "v2"):
        complaints = [row.complaint for row in found if row.assigned == version]
        assert_share(complaints, complaint_rate(scenario, version))


def test_the_effects_of_the_shipped_scenarios() -> None:
    """The complaint rate of v2 less that of v1, which the reports must find."""
    effects = {
        name: complaint_rate(read_shipped(name)[0], "v2")
        - complaint_rate(read_shipped(name)[0], "v1")
        for name in ("users-prefer-v2", "users-dislike-v2", "nothing")
    }
    assert effects == pytest.approx(
        {
            "users-prefer-v2": -0.0478,  # includes 1 % lower accuracy of v2
            "users-dislike-v2": 0.0522,
            "nothing": 0.0,
        }
    )
    koalas, _ = read_shipped("koalas-in-australia")
    rates = [complaint_rate(koalas, version, ("AU", "NZ")) for version in ("v1", "v2")]
    assert rates == pytest.approx([0.02 + 0.38 * (0.35 + 0.65 * 0.09), 0.058])
    assert complaint_rate(koalas, "v1", ("europe",)) == pytest.approx(0.02 + 0.38 * 0.09)


def test_feedback_has_the_fields_of_its_exposure() -> None:
    by_sequence = {e.sequence: e for e in exposures(simulate_shipped("nothing"))}
    for row in feedback(simulate_shipped("nothing"))[:500]:
        exposure = by_sequence[row.sequence]
        assert row.answered_at_ms == exposure.at_ms < row.at_ms
        assert (row.answered, row.assigned) == (exposure.label, exposure.assigned)


def test_only_users_of_v2_are_lost() -> None:
    scenario, ab = read_shipped("lost-users")
    without_loss = parse_scenario(scenario.model_dump() | {"lost": {}})
    all_users = {(e.user, e.assigned) for e in exposures(list(simulate(without_loss, ab, 1)))}
    arrived = {(e.user, e.assigned) for e in exposures(simulate_shipped("lost-users"))}
    assert arrived < all_users
    of_v2 = [user for user in all_users if user[1] == "v2"]
    assert {version for _, version in all_users - arrived} == {"v2"}
    assert_share([user not in arrived for user in of_v2], 0.25)


def test_a_rule_without_user_units_cannot_lose_users() -> None:
    scenario, _ = read_shipped("lost-users")
    for content in (AB, SHADOW, SINGLE):
        with pytest.raises(ValueError, match="needs unit: user"):
            next(simulate(scenario, rule(**content), 1))


def test_a_slower_candidate_has_higher_latency_and_fallbacks() -> None:
    found = exposures(list(simulate(*read_shipped("nothing"), 1, SLOWER_V2)))
    without_error = [e for e in found if e.error is None]
    for version, median in (("v1", 12), ("v2", 18)):
        is_slow = [e.latency_ms > median for e in without_error if e.assigned == version]
        assert_share(is_slow, 0.5)
    assert_share([e.error is not None for e in found if e.assigned == "v2"], 0.01)
    failed = [e for e in found if e.error is not None]
    assert {(e.assigned, e.served, e.error, e.reason) for e in failed} == {
        ("v2", "v1", "internal", "split")
    }


def test_failures_of_stable_have_no_fallback() -> None:
    models = Models(errors={"v1": 0.5, "v2": 1.0})
    scenario = parse_scenario(CONTENT | {"lost": {}})
    found = exposures(list(simulate(scenario, rule(**PARALLEL), 1, models)))
    assert {(e.assigned, e.served, e.label is None, e.model_ms is None) for e in found} == {
        ("v1", "v1", False, False),
        ("v1", None, True, True),
        ("v2", "v1", False, False),
        ("v2", None, True, True),
    }
    single = exposures(list(simulate(scenario, rule(**SINGLE), 1, models)))
    assert {(e.assigned, e.served) for e in single} == {("v1", "v1"), (None, None)}
