"""What `make chaos` counts."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from benchmarks.chaos.faults import FAULTS, QUICK
from benchmarks.chaos.load import OK, Answer, name_failure
from benchmarks.chaos.outcome import Effect, Outcome, judge, measure_effect, table
from benchmarks.chaos.results import PAGE
from benchmarks.chaos.service import ROLLING, ROLLING_REPLICAS, RULES, Service
from serve_app.deployment.config import check, read
from serve_app.deployment.names import DATA_PLANE
from serve_app.home import Home
from serve_app.privacy.prediction_ids import PredictionId, PredictionIdCodec

FAULT = replace(FAULTS[0], max_silence_s=5.0, may_fail=False)
GOOD = Outcome(FAULT, 100, Counter(), 0, 0, Effect(4.9, 4.9, is_over=True), 0, 10, 0)


def test_the_longest_time_without_a_prediction_has_the_bounds_and_no_failures() -> None:
    answers = [Answer(at, OK) for at in (1.0, 4.0, 2.0, 9.0)] + [Answer(3.0, "503")]
    assert measure_effect(answers, began=1.5, ended=5.0).silence_s == 2.0
    assert measure_effect(answers, began=1.5, ended=8.0).silence_s == 4.0
    assert measure_effect([], began=1.5, ended=8.0) == Effect(6.5, 6.5, is_over=False)


@pytest.mark.parametrize(
    ("answer", "last_s"),
    [
        (Answer(10.0, OK), 0.0),
        (Answer(10.0, "503"), 2.0),
        (Answer(10.0, OK, is_fallback=True), 2.0),
        (Answer(10.0, OK, feedback="503"), 2.0),
        (Answer(10.0, OK, feedback=OK), 0.0),
        (Answer(7.0, "503"), 0.0),  # before the fault
    ],
)
def test_the_last_effect_is_a_failure_or_a_fallback(answer: Answer, last_s: float) -> None:
    steady = [Answer(8.0 + n / 2, OK) for n in range(10)]
    assert measure_effect([*steady, answer], began=8.0, ended=12.5) == Effect(0.5, last_s, True)


def test_an_effect_is_over_if_it_ends_before_the_observation() -> None:
    steady = [Answer(n / 2, OK) for n in range(20)]
    assert measure_effect([*steady, Answer(8.9, "503")], 0.0, 10.0).is_over
    assert not measure_effect([*steady, Answer(9.1, "503")], 0.0, 10.0).is_over
    # in flight at the end
    assert not measure_effect([*steady, Answer(14.0, "reset")], 0.0, 10.0).is_over


def test_predictions_and_feedback_are_looked_for_in_the_store(tmp_path: Path) -> None:
    home = Home(tmp_path)
    codec = PredictionIdCodec(home.hash_key)
    with closing(sqlite3.connect(tmp_path / "serve-app.db")) as store:
        for name in ("exposures", "feedback"):
            store.execute(f"CREATE TABLE {name} (writer, sequence)")
        store.execute("INSERT INTO exposures VALUES ('0123456789ab', 1), ('0123456789ab', 2)")
        store.execute("INSERT INTO feedback VALUES ('0123456789ab', 1)")
        store.commit()
    ids = [
        codec.encode(PredictionId("0123456789ab", n, 0, "00000000", "v1", "cat")) for n in (1, 2, 3)
    ]
    answers = [
        *(Answer(float(n), OK, prediction_id=text, feedback=OK) for n, text in enumerate(ids)),
        Answer(3.0, OK, prediction_id=ids[0], is_fallback=True, feedback="503"),
        Answer(3.0, "refused"),
        Answer(4.0, "503", is_explained=True),
        Answer(5.0, "500", is_explained=False),
    ]
    outcome = judge(FAULT, answers, (0.0, 5.0), home)
    assert (outcome.requests, outcome.fallbacks, outcome.lost_exposures) == (7, 1, 1)
    assert (outcome.feedback, outcome.lost_feedback) == (3, 2)
    assert outcome.failures == Counter({"refused": 1, "503": 1, "500": 1, "503 of feedback": 1})
    assert outcome.unexplained == 1
    (row,) = table([outcome]).rows
    assert row[3] == "1 × 500, 1 × 503, 1 × 503 of feedback, 1 × refused"
    assert row[-1] == "2 of 3"


def test_what_clients_should_not_see_is_named() -> None:
    assert GOOD.faults == []
    bad = replace(
        GOOD,
        failures=Counter({"503": 2}),
        unexplained=1,
        effect=Effect(5.1, 9.0, is_over=False),
        lost_exposures=3,
        lost_feedback=1,
    )
    assert bad.faults == [
        "5.1 s without a prediction",
        "not over at the end of the observation",
        "2 failed requests",
        "1 failures without an explanation",
        "3 lost exposures",
        "1 lost feedback",
    ]
    allowed = replace(GOOD, fault=replace(FAULT, may_fail=True), failures=Counter({"503": 2}))
    assert allowed.faults == []


def test_a_failed_connection_has_a_name() -> None:
    key = ConnectionKey("localhost", 8000, False, True, None, None, None)
    refused = aiohttp.ClientConnectorError(key, OSError(111, "refused"))
    assert name_failure(refused) == "refused"
    assert name_failure(aiohttp.ServerTimeoutError()) == "timeout"
    for error in (aiohttp.ServerDisconnectedError(), ConnectionResetError(), OSError()):
        assert name_failure(error) == "reset"


@pytest.mark.parametrize("name", RULES)
def test_configurations_are_valid_and_have_one_replica_of_each_kind(
    name: str, tmp_path: Path
) -> None:
    document = read(Service(tmp_path, name).configuration(name))
    assert check(document, ("v1", "v2")).kind == RULES[name]
    (data_plane,) = (a for a in document["applications"] if a["name"] == DATA_PLANE)
    sizes = {d["name"]: d["autoscaling_config"]["max_replicas"] for d in data_plane["deployments"]}
    stable = ROLLING_REPLICAS if name == ROLLING else 1
    assert sizes == {"Ingress": 1, "StablePool": stable, "CandidatePool": 1}


def test_the_short_run_has_two_faults_and_names_are_unique() -> None:
    assert len(QUICK) == 2
    assert len({(fault.name, fault.configuration) for fault in FAULTS}) == len(FAULTS)


def test_the_page_has_every_fault() -> None:
    rows = [line.split(" | ")[:2] for line in PAGE.read_text().splitlines()]
    published = [(row[0].removeprefix("| "), row[1]) for row in rows if len(row) > 1]
    assert {(fault.name, RULES[fault.configuration]) for fault in FAULTS} <= set(published)
