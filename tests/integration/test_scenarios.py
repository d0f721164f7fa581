"""What the scenarios plant, the reports find: through the store, inside the stated intervals.

Each is played with several seeds: SERVE_APP_SEEDS says how many, and from 20 on in full size. The
intervals are always valid and reach three standard errors and more at any one look, so that one
misses the truth with a probability of 0.003 at most; two of 20 do so with 0.2 %. Hence 19 of 20
must cover it, and of fewer all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.clock import DAY_MS
from serve_app.reports import ab_test, canary, shadow
from serve_app.reports.period import Period
from serve_app.rules.parse import parse_rule
from serve_app.store.store import Store, open_store
from serve_app.traffic.population import draw_population, photograph_shares
from serve_app.traffic.scenario import Latency, Photographs, Scenario, read_scenario
from tests.simulated import ACCURACY, KNOWS, MODEL_SHARE, START_MS, complaint_rate, simulate

FOLDER = Path(__file__).parents[2] / "docs/scenarios"
SEEDS = range(1, 1 + int(os.environ.get("SERVE_APP_SEEDS", "2")))
FULL_SIZE = 20
# In the suite; the loss of a quarter of one arm takes many users to be seen for sure, and so do
# regions that are told apart.
REQUESTS = {"lost-users": 20_000, "koalas-in-australia": 20_000}
FEWER = 8_000
DAY = Period(START_MS, START_MS + DAY_MS)
LOOKS = 30
NEXT_WRITER = "51a1a7e00002"

BY_USER = {
    "kind": "ab_test",
    "control": "v1",
    "treatment": "v2",
    "experiment": "scenario",
    "unit": "user",
}
BY_REQUEST = BY_USER | {"unit": "request"}
SHADOW = {"kind": "shadow", "stable": "v1", "candidate": "v2"}
CANARY = {
    "kind": "canary_parallel",
    "stable": "v1",
    "candidate": "v2",
    "experiment": "scenario",
    "weight": 0.3,
}
Play = Callable[[str | Scenario, dict[str, Any], int], Store]


def labels(version: str) -> tuple[str, ...]:
    return KNOWS[version]


@cache
def scenario(name: str) -> Scenario:
    shipped = read_scenario(FOLDER / f"{name}.yaml")
    if len(SEEDS) >= FULL_SIZE:
        return shipped
    return shipped.scaled(REQUESTS.get(name, FEWER))


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Plays a scenario into a store; the one before is gone."""
    stores: list[Store] = []

    def played(what: str | Scenario, rule: dict[str, Any], seed: int) -> Store:
        if stores:
            stores.pop().close()
        path = tmp_path / "store.db"
        path.unlink(missing_ok=True)
        stores.append(open_store(f"sqlite:///{path}"))
        day = scenario(what) if isinstance(what, str) else what
        for batch in simulate(day, parse_rule(rule, tuple(KNOWS)), seed):
            stores[0].record(batch)
        return stores[0]

    return played


def assert_covered(held: list[bool]) -> None:
    assert sum(not one for one in held) <= len(held) // FULL_SIZE, held


def covers(measured: dict[str, Any], truth: float) -> bool:
    low, high = measured["interval"]
    return bool(low <= truth <= high)


def assert_unbiased(errors: list[float]) -> None:
    """The intervals are wide; the mean of many estimates tells whether they lie in the middle."""
    if len(errors) >= FULL_SIZE:
        assert abs(np.mean(errors)) < 4 * np.std(errors) / math.sqrt(len(errors)), errors


def preferred(name: str, seed: int) -> float:
    """How many more of the crowd's users complain at least once of v2 than would of v1."""
    played = scenario(name)
    assert played.feedback
    requests = np.unique(draw_population(played, seed).user, return_counts=True)[1]
    complain = {
        version: 1 - (1 - played.feedback.coverage * complaint_rate(played, version)) ** requests
        for version in KNOWS
    }
    return float((complain["v2"] - complain["v1"]).mean())


@pytest.mark.parametrize(
    ("name", "planted", "opposite"),
    [("users-prefer-v2", "better", "worse"), ("users-dislike-v2", "worse", "better")],
)
def test_what_users_prefer_is_found(name: str, planted: str, opposite: str, play: Play) -> None:
    held, errors, findings = [], [], []
    for seed in SEEDS:
        found = ab_test.report(play(name, BY_USER, seed), DAY, labels, None)
        truth = preferred(name, seed)
        assert abs(truth) > 0.04
        held.append(covers(found["overall"], truth))
        errors.append(found["overall"]["difference"] - truth)
        findings.append(found["finding"])
        assert not found["srm"]["invalid"]
    assert_covered(held)
    assert_unbiased(errors)
    assert opposite not in findings
    if len(SEEDS) >= FULL_SIZE:
        assert findings.count(planted) > len(findings) / 2


def test_of_requests_it_is_found_too(play: Play) -> None:
    name = "users-prefer-v2"
    played = scenario(name)
    assert played.feedback
    truth = played.feedback.coverage * (complaint_rate(played, "v2") - complaint_rate(played, "v1"))
    held, errors = [], []
    for seed in SEEDS:
        found = ab_test.report(play(name, BY_REQUEST, seed), DAY, labels, None)
        held.append(covers(found["overall"], truth))
        errors.append(found["overall"]["difference"] - truth)
        assert found["finding"] != "worse"
    assert_covered(held)
    assert_unbiased(errors)


def test_koalas_are_found_where_they_live(play: Play) -> None:
    """AU and NZ stand out, and in each region and hour the rate is the planted one."""
    name = "koalas-in-australia"
    held = []
    for seed in SEEDS:
        new = shadow.report(play(name, SHADOW, seed), DAY, labels)["new_labels"]
        rates = {one["region"]: one for one in new["by_region"]}
        by_region, by_hour = koala_rates(scenario(name), seed)
        assert rates.keys() == by_region.keys()
        here, elsewhere = {"AU", "NZ"}, rates.keys() - {"AU", "NZ"}
        assert min(rates[r]["interval"][0] for r in here) > max(
            rates[r]["interval"][1] for r in elsewhere
        )
        hours = {(one["at_ms"] - START_MS) // 3_600_000: one for one in new["by_hour"]}
        held.append(
            all(covers(rates[region], rate) for region, rate in by_region.items())
            and all(covers(hours[hour], rate) for hour, rate in by_hour.items())
        )
    assert_covered(held)


def koala_rates(played: Scenario, seed: int) -> tuple[dict[str, float], dict[int, float]]:
    """How often v2 is expected to say koala of the crowd's requests, by region and by hour."""
    crowd = draw_population(played, seed)
    says = np.array(
        [
            ACCURACY["v2"] if truth == "koala" else (1 - ACCURACY["v2"]) / 2
            for truth in played.labels
        ]
    )
    region = crowd.region[crowd.user]
    expected = (photograph_shares(played) @ says)[region, crowd.hour]
    by_region = {
        code: float(expected[region == number].mean()) for number, code in enumerate(crowd.regions)
    }
    return by_region, {h: float(expected[crowd.hour == h].mean()) for h in range(24)}


def test_lost_users_make_a_test_invalid(play: Play) -> None:
    name = "lost-users"
    for seed in SEEDS:
        found = ab_test.report(play(name, BY_USER, seed), DAY, labels, None)
        assert (found["finding"], found["srm"]["invalid"]) == ("invalid: SRM", True)
        assert found["sentence"].startswith("Invalid, sample ratio mismatch")


def test_a_slower_candidate_is_found(play: Play) -> None:
    """It fails one request in a hundred, which stable answers after it has failed."""
    name = "slower-v2"
    simulated = scenario(name).simulated
    stable, candidate = (mean_ms(simulated.latency_ms[version]) for version in ("v1", "v2"))
    fails = simulated.errors["v2"]
    truths = (
        fails,
        candidate + fails * stable - stable,
        MODEL_SHARE * (candidate - stable),
    )
    held, errors = [], []
    for seed in SEEDS:
        found = canary.report(play(name, CANARY, seed), DAY, labels, None)
        held.append(all(map(covers, found["measures"], truths)))
        errors.append(found["measures"][1]["difference"] - truths[1])
        assert [measure["finding"] for measure in found["measures"][1:]] == ["worse", "worse"]
        assert found["measures"][0]["finding"] in ("worse", "keep going")
        assert found["finding"] == "worse"
        assert not found["srm"]["invalid"]
    assert_covered(held)
    assert_unbiased(errors)


def mean_ms(latency: Latency) -> float:
    """Of a lognormal distribution."""
    return latency.median * math.exp(latency.sigma**2 / 2)


@pytest.mark.parametrize("rule", [BY_USER, BY_REQUEST, CANARY], ids=["user", "request", "canary"])
def test_where_nothing_is_nothing_is_found(rule: dict[str, Any], play: Play) -> None:
    held = []
    for seed in SEEDS:
        store = play("nothing", rule, seed)
        if rule is CANARY:
            found = canary.report(store, DAY, labels, None)
            held.append(all(covers(measure, 0) for measure in found["measures"]))
        else:
            found = ab_test.report(store, DAY, labels, None)
            held.append(covers(found["overall"], 0))
            assert not found["feedback_srm"]["invalid"]
        assert found["finding"] not in ("better", "worse")
        assert not found["srm"]["invalid"]
    assert_covered(held)


def test_whoever_looks_all_day_finds_nothing_either(play: Play) -> None:
    """Half-hourly, the report up to then. A test at 95 % for one look would be wrong in a quarter
    of the days; this one in less than one of 20, whatever the number of looks."""
    for seed in SEEDS:
        store = play("nothing", BY_USER, seed)
        looks = [
            ab_test.report(store, Period(START_MS, START_MS + look * DAY_MS // LOOKS), labels, None)
            for look in range(1, LOOKS + 1)
        ]
        assert not {look["finding"] for look in looks} & {"better", "worse", "invalid: SRM"}
        counts = [sum(look["overall"]["units"].values()) for look in looks]
        assert counts == sorted(counts)
        assert counts[0] < counts[-1]


def test_users_with_one_pet_each_are_no_difference(play: Play) -> None:
    """Nor is a weight that grows from a tenth to a half after the first day."""
    name = "one-pet-a-user"
    held = []
    for seed in SEEDS:
        store = play(name, CANARY | {"weight": 0.1}, seed)
        play_on(store, name, CANARY | {"weight": 0.5}, seed)
        found = canary.report(store, Period(START_MS, START_MS + 2 * DAY_MS), labels, None)
        held.append(all(covers(measure, 0) for measure in found["measures"]))
        assert found["finding"] not in ("better", "worse")
        assert not found["srm"]["invalid"]
        assert found["classes"]["drift"] is False
    assert_covered(held)


def play_on(store: Store, name: str, rule: dict[str, Any], seed: int) -> None:
    """The next day of the same users, told by another writer."""
    rules = parse_rule(rule, tuple(KNOWS))
    for batch in simulate(scenario(name), rules, seed, start_ms=START_MS + DAY_MS):
        told = replace(
            batch,
            writer=NEXT_WRITER,
            exposures=tuple(replace(e, writer=NEXT_WRITER) for e in batch.exposures),
        )
        store.record(told)


def test_a_shadow_is_as_sure_of_koalas_as_its_users_are_many(play: Play) -> None:
    """A fifth of the users has a koala, and nothing else. Were their images independent, the
    share of this crowd's would be taken for that of all."""
    pets = scenario("one-pet-a-user").model_copy(
        update={"photographs": [Photographs(shares={"cat": 0.4, "dog": 0.4, "koala": 0.2})]}
    )
    held = []
    for seed in SEEDS:
        new = shadow.report(play(pets, SHADOW, seed), DAY, labels)["new_labels"]
        held.append(covers(new["rate"], 0.2))
        held.append(all(covers(one, 0.2) for one in new["by_region"] + new["by_hour"]))
    assert_covered(held)
