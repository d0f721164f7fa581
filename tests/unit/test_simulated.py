"""What is simulated is what the scenario says; counts lie in the binomial's 99.99 % interval."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from serve_app.domain import Exposure, Feedback, ShadowPair
from serve_app.recording.batch import Batch
from serve_app.rules.parse import parse_rule
from serve_app.rules.rule import Rule
from serve_app.traffic.scenario import Scenario, parse_scenario, read_scenario
from tests.simulated import CANNOT_SAY, DAY_MS, START_MS, complaint_rate, simulate
from tests.unit.service import AB, PARALLEL, SHADOW, SINGLE
from tests.unit.traffic.test_population import CONTENT, assert_share

FOLDER = Path(__file__).parents[2] / "docs/scenarios"
BY_USER = AB | {"unit": "user"}


def rule(**content: Any) -> Rule:
    return parse_rule(content, ("v1", "v2"))


@cache
def shipped(name: str) -> tuple[Scenario, Rule]:
    """A shipped scenario, and the rule that its file says to put in force."""
    path = FOLDER / f"{name}.yaml"
    (line,) = re.findall(r"^# Rule:   (.*)$", path.read_text(), re.MULTILINE)
    return read_scenario(path), rule(**yaml.safe_load(line)["rule"])


@cache
def played(name: str) -> tuple[Batch, ...]:
    return tuple(simulate(*shipped(name), seed=1))


def exposures(batches: tuple[Batch, ...] | list[Batch]) -> list[Exposure]:
    return [exposure for batch in batches for exposure in batch.exposures]


def feedback(batches: tuple[Batch, ...]) -> list[Feedback]:
    return [word for batch in batches for word in batch.feedback]


def pairs(batches: tuple[Batch, ...] | list[Batch]) -> list[ShadowPair]:
    return [pair for batch in batches for pair in batch.pairs]


def test_the_same_seed_simulates_the_same_day() -> None:
    scenario = parse_scenario(CONTENT | {"requests": 500})
    first, again, other = (list(simulate(scenario, rule(**BY_USER), seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_writer_numbers_what_arrives() -> None:
    scenario = parse_scenario(CONTENT | {"requests": 1000})
    batches = list(simulate(scenario, rule(**BY_USER), 1, batch_size=300))
    arrived = exposures(batches)
    assert [e.sequence for e in arrived] == list(range(1, len(arrived) + 1))
    assert len(arrived) < 1000, "some are lost"
    assert [len(batch.adoptions) for batch in batches] == [1, 0, 0, 0]
    assert batches[0].adoptions[0].at_ms == START_MS
    assert batches[-1].last_sequence == len(arrived)
    times = [e.at_ms for e in arrived]
    assert times == sorted(times)
    assert START_MS <= times[0] < times[-1] < START_MS + DAY_MS


def test_the_rule_assigns_each_user_for_good() -> None:
    assigned = {(e.user, e.assigned) for e in exposures(played("nothing"))}
    assert len(assigned) == len({user for user, _ in assigned})
    assert_share([version == "v2" for _, version in assigned], 0.5)


@pytest.mark.parametrize("unit", ["request", "session"])
def test_the_rule_draws_what_it_says(unit: str) -> None:
    scenario = parse_scenario(CONTENT | {"lost": {}, "requests": 3000})
    there = rule(**AB, unit=unit, regions=["AU"])
    found = exposures(list(simulate(scenario, there, 1)))
    assert {e.reason for e in found if e.region != "AU"} == {"not_targeted"}
    by_session = {e.session: e.assigned for e in found if e.reason == "split"}
    inside = [e for e in found if e.region == "AU"]
    assert_share([v == "v2" for v in by_session.values()], 0.5)
    sticky = all(by_session[e.session] == e.assigned for e in inside)
    assert sticky == (unit == "session")


def test_v1_never_says_koala() -> None:
    said = exposures(played("koalas-in-australia"))
    assert {e.served for e in said} == {"v1"}
    assert {e.label for e in said} == {"cat", "dog"}
    truths = {w.sequence: w.label for w in feedback(played("koalas-in-australia"))}
    koalas = [e.label for e in said if truths.get(e.sequence) == "koala"]
    others = [
        e.label == truths[e.sequence] for e in said if truths.get(e.sequence) in ("cat", "dog")
    ]
    assert_share([label == "dog" for label in koalas], CANNOT_SAY["v1", "koala"]["dog"])
    assert_share(others, 0.91)


def test_the_shadow_says_koala_where_and_when_koalas_are() -> None:
    """v2 is right of 0.9 of the koalas, and takes half of a tenth of the others for koalas."""
    copied = pairs(played("koalas-in-australia"))
    assert len(copied) == 20_000
    for home, hours, share in (
        ("DE", range(24), 0.0),
        ("AU", (7, 8, 9, 10), 0.6),
        ("NZ", (0, 1, 2), 0.3),
    ):
        here = [p for p in copied if p.region == home]
        now = [p for p in here if (p.at_ms - START_MS) // 3_600_000 % 24 in hours]
        assert_share([p.label == "koala" for p in now], 0.9 * share + 0.05 * (1 - share))


def test_a_pair_tells_of_the_live_answer() -> None:
    live = {e.sequence: e for e in exposures(played("koalas-in-australia"))}
    for pair in pairs(played("koalas-in-australia"))[:500]:
        answer = live[pair.sequence]
        assert (pair.region, pair.live_version, pair.live_label) == (
            answer.region,
            "v1",
            answer.label,
        )
        assert (pair.live_latency_ms, pair.live_model_ms) == (answer.latency_ms, answer.model_ms)
        assert pair.at_ms >= answer.at_ms


def test_a_shadow_copies_its_sample_and_copies_may_fail() -> None:
    content = CONTENT | {"simulated": {"errors": {"v2": 0.2}}, "lost": {}}
    batches = list(simulate(parse_scenario(content), rule(**SHADOW, sample=0.5), 1))
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
def test_complaints_come_as_often_as_planted(name: str) -> None:
    scenario, _ = shipped(name)
    assert scenario.feedback
    words = feedback(played(name))
    assert_share(np.arange(len(exposures(played(name)))) < len(words), scenario.feedback.coverage)
    for version in ("v1", "v2"):
        said = [word.complaint for word in words if word.assigned == version]
        assert_share(said, complaint_rate(scenario, version))


def test_what_the_shipped_scenarios_plant() -> None:
    """The truth that the statistics are to recover: v2's complaints less v1's."""
    planted = {
        name: complaint_rate(shipped(name)[0], "v2") - complaint_rate(shipped(name)[0], "v1")
        for name in ("users-prefer-v2", "users-dislike-v2", "nothing")
    }
    assert planted == pytest.approx(
        {
            "users-prefer-v2": -0.0478,  # v2 is right a hundredth less often
            "users-dislike-v2": 0.0522,
            "nothing": 0.0,
        }
    )
    koalas, _ = shipped("koalas-in-australia")
    there = [complaint_rate(koalas, version, ("AU", "NZ")) for version in ("v1", "v2")]
    assert there == pytest.approx([0.02 + 0.38 * (0.35 + 0.65 * 0.09), 0.058])
    assert complaint_rate(koalas, "v1", ("europe",)) == pytest.approx(0.02 + 0.38 * 0.09)


def test_feedback_follows_its_answer() -> None:
    answers = {e.sequence: e for e in exposures(played("nothing"))}
    for word in feedback(played("nothing"))[:500]:
        answer = answers[word.sequence]
        assert word.answered_at_ms == answer.at_ms < word.at_ms
        assert (word.answered, word.assigned) == (answer.label, answer.assigned)


def test_only_users_of_v2_are_lost() -> None:
    scenario, ab = shipped("lost-users")
    kept = parse_scenario(scenario.model_dump() | {"lost": {}})
    everybody = {(e.user, e.assigned) for e in exposures(list(simulate(kept, ab, 1)))}
    arrived = {(e.user, e.assigned) for e in exposures(played("lost-users"))}
    assert arrived < everybody
    of_v2 = [user for user in everybody if user[1] == "v2"]
    assert {version for _, version in everybody - arrived} == {"v2"}
    assert_share([user not in arrived for user in of_v2], 0.25)


def test_nobody_is_lost_where_no_user_is_assigned() -> None:
    scenario, _ = shipped("lost-users")
    for content in (AB, SHADOW, SINGLE):
        with pytest.raises(ValueError, match="needs unit: user"):
            next(simulate(scenario, rule(**content), 1))


def test_the_slower_version_is_slower_and_stable_answers_its_failures() -> None:
    found = exposures(played("slower-v2"))
    well = [e for e in found if e.error is None]
    for version, median in (("v1", 12), ("v2", 18)):
        slow = [e.latency_ms > median for e in well if e.assigned == version]
        assert_share(slow, 0.5)
    assert_share([e.error is not None for e in found if e.assigned == "v2"], 0.01)
    failed = [e for e in found if e.error is not None]
    assert {(e.assigned, e.served, e.error, e.reason) for e in failed} == {
        ("v2", "v1", "internal", "split")
    }


def test_a_stable_version_that_fails_answers_nobody() -> None:
    content = CONTENT | {"lost": {}, "simulated": {"errors": {"v1": 0.5, "v2": 1}}}
    found = exposures(list(simulate(parse_scenario(content), rule(**PARALLEL), 1)))
    assert {(e.assigned, e.served, e.label is None, e.model_ms is None) for e in found} == {
        ("v1", "v1", False, False),
        ("v1", None, True, True),
        ("v2", "v1", False, False),
        ("v2", None, True, True),
    }
    single = exposures(list(simulate(parse_scenario(content), rule(**SINGLE), 1)))
    assert {(e.assigned, e.served) for e in single} == {("v1", "v1"), (None, None)}
