"""What the store tells of real traffic, also when processes are killed in the midst of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.load import Asked, Load
from tests.e2e.patience import eventually

ROOT = Path(__file__).parents[2]
TAIL_S = 2.0  # what an ingress that is killed had not delivered: half a second, and a busy machine
CANARY = {
    "kind": "canary_parallel",
    "stable": "v1",
    "candidate": "v2",
    "weight": 0.3,
    "experiment": "e2e-ledger",
}


@pytest.fixture(scope="module")
def service(start: Any) -> Any:
    return start(ROOT / "deploy_configs/base.yaml")


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
    for home in (regions["AU"], regions["NZ"]):
        assert home["interval"][0] > max(one["interval"][1] for one in elsewhere)
    assert "koala by region" in service.command("report", "shadow")


def test_what_was_acknowledged_is_there_and_what_was_lost_is_bounded(
    service: Any, put: Any, examples: Any
) -> None:
    before, said_before = service.control("status")["recording"], words(service)
    put(CANARY)
    with Load(examples, users=300) as load, Feedback(service.http.base_url, load.asked) as said:
        load.wait_for(100, ("v2", "split"))
        kill(service, "animals", "Ingress")
        killed_at = time.time()
        load.wait_for(300, ("v2", "split"))
        kill(service, "control", "Controller")
        load.wait_for(300, ("v2", "split"))
        service.command("update", "v2", "--method", "rolling")
        load.wait_for(200, ("v2", "static"))
    assert load.failed == []
    tail = sum(killed_at - TAIL_S < asked.ended < killed_at + TAIL_S for asked in load.asked)
    eventually(lambda: len(load.asked) - recorded(service, before) <= tail)
    assert recorded(service, before) <= len(load.asked)
    assert len(said.acknowledged) > 50
    # What was sent as the ingress was killed may be stored, though nobody was thanked for it.
    assert len(said.acknowledged) <= words(service) - said_before <= said.sent

    report = service.json("report", "canary", "--experiment", "e2e-ledger")
    units = report["srm"]["control"] + report["srm"]["treatment"]
    assert 250 < units <= 300
    assert not report["srm"]["invalid"]
    assert report["finding"] not in ("worse", "invalid: SRM")


class Feedback:
    """Says something of every fourth answer, until it is left.

    Attributes:
        sent: How often.
        acknowledged: The prediction ids for which it was thanked.
    """

    def __init__(self, url: httpx.URL, asked: list[Asked]) -> None:
        self.sent = 0
        self.acknowledged: list[str] = []
        self._url = url
        self._asked = asked
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Feedback:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as http:
            for asked in self._answers():
                body = {"prediction_id": asked.answer["prediction_id"], "complaint": False}
                self.sent += 1
                try:
                    thanked = http.post("/v1/feedback", json=body).status_code == 200
                except httpx.HTTPError:
                    continue
                if thanked:
                    self.acknowledged.append(body["prediction_id"])

    def _answers(self) -> Iterator[Asked]:
        place = 0
        while not self._ended.wait(0.02):
            while place < len(self._asked) and not self._ended.is_set():
                if self._asked[place].status == 200:
                    yield self._asked[place]
                place += 4


def recorded(service: Any, before: dict[str, Any]) -> int:
    """Exposures since `before` that are stored, or known to be missing."""
    now = service.control("status")["recording"]
    return sum(int(now[state] - before[state]) for state in ("stored", "missing"))


def words(service: Any) -> int:
    """How often the store was told something of an answer."""
    path = service.home / "feedback.csv"
    service.command("export", "feedback", str(path))
    return len(path.read_text().splitlines()) - 1


def stored(service: Any, exposures: int) -> None:
    """Wait until so many are."""
    eventually(lambda: service.control("status")["recording"]["stored"] >= exposures)
    eventually(lambda: service.control("status")["recording"]["shadow_pairs"] >= exposures)


def kill(service: Any, application: str, deployment: str) -> None:
    """SIGKILL its one replica."""
    facts = service.control("status")["applications"][application]["deployments"][deployment]
    (replica,) = facts["replicas"]
    os.kill(replica["pid"], signal.SIGKILL)
