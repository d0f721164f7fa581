"""What the store tells of real traffic, also when processes are killed in the midst of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.ledger import Feedback, Ledger
from tests.e2e.load import Load
from tests.e2e.waiting import eventually

ROOT = Path(__file__).parents[3]
CLIENTS = 8
TAIL_S = 2.0  # what an ingress that is killed had not delivered: half a second, and a busy machine
VERSIONS: dict[str, Any] = {"stable": "v1", "candidate": "v2"}
PATIENT = {"timeout_s": 15}  # that this machine is busy is no failure of the candidate
RULES: dict[str, dict[str, Any]] = {
    "single": {"stable": "v1"},
    "canary_parallel": VERSIONS | PATIENT | {"experiment": "e2e-canary_parallel", "weight": 0.3},
    "canary_rolling": VERSIONS
    | PATIENT
    | {"experiment": "e2e-canary_rolling", "replicas": 1, "of": 2},
    "ab_test": {"control": "v1", "treatment": "v2", "experiment": "e2e-ab_test", "unit": "user"}
    | PATIENT,
    "shadow": VERSIONS,
}


@pytest.fixture
def put(service: Any, tmp_path: Path) -> Callable[[dict[str, Any]], None]:
    """Puts a rule in force."""

    def set_rule(rule: dict[str, Any]) -> None:
        path = tmp_path / "rule.yaml"
        path.write_text(yaml.safe_dump({"rule": rule}))
        service.command("rule", "set", str(path))

    return set_rule


def test_a_shadow_tells_where_the_koalas_come_from(service: Any, put: Any) -> None:
    put({"kind": "shadow", "stable": "v1", "candidate": "v2"})
    scenario = ROOT / "docs/scenarios/koalas-in-australia.yaml"
    sent = service.json("traffic", "--scenario", str(scenario), "--requests", "2000")
    assert (sent["requests"], sent["failed"]) == (2000, 0)
    stored(service, 2000)
    report = service.json("report", "shadow")
    outcomes = report["outcomes"]
    assert sum(outcomes.values()) == 2000
    regions = {one["region"]: one for one in report["new_labels"]["by_region"]}
    elsewhere = [one for region, one in regions.items() if region not in ("AU", "NZ")]
    assert len(elsewhere) == 6
    assert max(one["estimate"] for one in elsewhere) < 0.03
    # Each is of some 25 users, who have one pet each; of a busy machine's copies some are shed.
    for home in (regions["AU"], regions["NZ"]):
        assert home["interval"][0] > 0.03
    assert "koala by region" in service.command("report", "shadow")


@pytest.mark.parametrize("kind", RULES)
def test_what_was_sent_is_stored_or_known_to_be_missing(
    service: Any, put: Any, examples: Any, kind: str
) -> None:
    """But for the tail of an ingress that is killed. What was acknowledged is all there."""
    put({"kind": "single", "stable": "v1"})  # what was before is all delivered
    ledger = Ledger(service)
    put({"kind": kind} | RULES[kind])
    with (
        Load(examples, CLIENTS, users=300) as load,
        Feedback(service.http.base_url, load.asked) as said,
    ):
        load.wait_for(300)
        kill(service, "animals", "Ingress")
        killed_at = time.time()
        load.wait_for(300)
        kill(service, "control", "Controller")
        load.wait_for(300)
        service.command("update", "v2", "--method", "rolling")
        load.wait_for(200, ("v2", "static"))
    # An answer may be half on its way when its ingress is killed; nobody else is failed.
    assert all(killed_at - TAIL_S < asked.ended < killed_at + TAIL_S for asked in load.failed)
    assert len(load.failed) <= CLIENTS
    tail = sum(killed_at - TAIL_S < asked.ended < killed_at + TAIL_S for asked in load.asked)
    eventually(lambda: len(load.asked) - ledger.exposures() <= tail)
    assert ledger.exposures() <= len(load.asked)
    assert len(said.acknowledged) > 50
    # What was sent as the ingress was killed may be stored, though nobody was thanked for it.
    eventually(lambda: ledger.words() >= len(said.acknowledged))
    assert ledger.words() <= said.sent
    if kind == "shadow":
        shadowed = sum(asked.given == ("v1", "static") for asked in load.asked)
        eventually(lambda: shadowed - ledger.pairs() <= tail)


def test_a_canary_of_which_a_tail_is_lost_is_a_fair_one_still(service: Any) -> None:
    report = service.json("report", "canary", "--experiment", "e2e-canary_parallel")
    units = report["srm"]["control"] + report["srm"]["treatment"]
    assert 250 < units <= 300
    assert not report["srm"]["invalid"]
    assert report["finding"] not in ("worse", "invalid: SRM")


def stored(service: Any, exposures: int) -> None:
    """Wait until so many are."""
    eventually(lambda: service.control("status")["recording"]["stored"] >= exposures)
    eventually(lambda: service.control("status")["recording"]["shadow_pairs"] >= exposures)


def kill(service: Any, application: str, deployment: str) -> None:
    """SIGKILL its one replica."""
    facts = service.control("status")["applications"][application]["deployments"][deployment]
    (replica,) = facts["replicas"]
    os.kill(replica["pid"], signal.SIGKILL)
