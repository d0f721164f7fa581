"""Records and reports of real traffic, also when processes are killed during it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.load import FeedbackSender, Load
from tests.e2e.store_counts import StoreCounts
from tests.e2e.waiting import eventually

ROOT = Path(__file__).parents[3]
CLIENTS = 8
TAIL_S = 2.0  # requests around a kill of the ingress whose exposures may be lost
VERSIONS: dict[str, Any] = {"stable": "v1", "candidate": "v2"}
LONG_TIMEOUT = {"timeout_s": 15}  # the test machine may be busy
RULES: dict[str, dict[str, Any]] = {
    "canary_parallel": VERSIONS
    | LONG_TIMEOUT
    | {"experiment": "e2e-canary_parallel", "weight": 0.3, "settle": "5s"},
    "shadow": VERSIONS,
}


@pytest.fixture
def set_rule(service: Any, tmp_path: Path) -> Callable[[dict[str, Any]], None]:
    """A function that sets a rule."""

    def run_command(rule: dict[str, Any]) -> None:
        path = tmp_path / "rule.yaml"
        path.write_text(yaml.safe_dump({"rule": rule}))
        service.command("rule", "set", str(path), "--change-stable")

    return run_command


def test_a_shadow_report_shows_the_regions_of_new_labels(service: Any, set_rule: Any) -> None:
    set_rule({"kind": "shadow", "stable": "v1", "candidate": "v2"})
    scenario = ROOT / "docs/scenarios/koalas-in-australia.yaml"
    summary = service.json("traffic", "--scenario", str(scenario), "--requests", "2000")
    assert (summary["requests"], summary["failed"]) == (2000, 0)
    wait_until_stored(service, 2000)
    report = service.json("report", "shadow")
    outcomes = report["outcomes"]
    assert sum(outcomes.values()) == 2000
    regions = {entry["region"]: entry for entry in report["new_labels"]["by_region"]}
    elsewhere = [entry for region, entry in regions.items() if region not in ("AU", "NZ")]
    assert len(elsewhere) == 6
    assert max(entry["estimate"] for entry in elsewhere) < 0.03
    # Each region has some 25 users; on a busy machine some copies are shed.
    for region in (regions["AU"], regions["NZ"]):
        assert region["interval"][0] > 0.03
    assert "koala by region" in service.command("report", "shadow")


@pytest.mark.parametrize("kind", RULES)
def test_every_request_is_stored_or_counted_as_missing(
    service: Any, set_rule: Any, examples: Any, kind: str
) -> None:
    """Except for the last requests of a killed ingress. Acknowledged feedback is never lost."""
    set_rule({"kind": "single", "stable": "v1"})  # earlier records are delivered
    counts = StoreCounts(service)
    set_rule({"kind": kind} | RULES[kind])
    with (
        Load(examples, CLIENTS, users=300) as load,
        FeedbackSender(service.http.base_url, load.requests) as feedback,
    ):
        load.wait_for(300)
        kill(service, "animals", "Ingress")
        killed_at = time.time()
        load.wait_for(300)
        kill(service, "control", "Controller")
        load.wait_for(300)
        service.command("update", "v2", "--method", "rolling")
        load.wait_for(200, ("v2", "static"))
    # Only requests that were in flight at the killed ingress may fail.
    assert all(
        killed_at - TAIL_S < request.ended_at < killed_at + TAIL_S for request in load.failed
    )
    assert len(load.failed) <= CLIENTS
    tail = sum(
        killed_at - TAIL_S < request.ended_at < killed_at + TAIL_S for request in load.requests
    )
    eventually(lambda: len(load.requests) - counts.exposures() <= tail)
    assert counts.exposures() <= len(load.requests)
    assert len(feedback.acknowledged) > 50
    # Feedback that was in flight at the kill may be stored without an acknowledgement.
    eventually(lambda: counts.feedback() >= len(feedback.acknowledged))
    assert counts.feedback() <= feedback.sent
    if kind == "shadow":
        shadowed = sum(request.version_and_reason == ("v1", "static") for request in load.requests)
        eventually(lambda: shadowed - counts.pairs() <= tail)


def test_a_canary_with_lost_exposures_is_still_valid(service: Any) -> None:
    arguments = ("report", "canary", "--experiment", "e2e-canary_parallel")
    eventually(lambda: service.json(*arguments)["settling"]["settling"] == 0)
    report = service.json(*arguments)
    units = report["srm"]["stable"] + report["srm"]["candidate"]
    assert 250 < units <= 300
    assert not report["srm"]["invalid"]
    assert report["finding"] not in ("worse", "invalid: SRM")


def wait_until_stored(service: Any, exposures: int) -> None:
    """Wait until the store has at least this many exposures and shadow pairs."""
    eventually(lambda: service.get_control("status")["recording"]["stored"] >= exposures)
    eventually(lambda: service.get_control("status")["recording"]["shadow_pairs"] >= exposures)


def kill(service: Any, application: str, deployment: str) -> None:
    """Send SIGKILL to the only replica of a deployment."""
    facts = service.get_control("status")["applications"][application]["deployments"][deployment]
    (replica,) = facts["replicas"]
    os.kill(replica["pid"], signal.SIGKILL)
