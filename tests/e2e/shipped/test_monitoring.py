"""A real Prometheus with the running service: every query of the dashboard returns values."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests import queries
from tests.e2e.load import Load
from tests.e2e.prometheus import Prometheus, run_prometheus
from tests.e2e.service import METRICS_S

CANARY = {
    "kind": "canary_parallel",
    "stable": "v1",
    "candidate": "v2",
    "weight": 0.5,
    "experiment": "e2e-monitoring",
}
SHADOW = {"kind": "shadow", "stable": "v1", "candidate": "v2"}
REPORT_S = METRICS_S + 2.0
QUERY_TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with run_prometheus(tmp_path_factory.mktemp("prometheus")) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def prometheus_with_data(
    prometheus: Prometheus,
    service: Any,
    examples: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Prometheus:
    """Prometheus after traffic with a canary whose candidate is killed twice, and a shadow."""
    folder = tmp_path_factory.mktemp("rules")

    def apply_rule(rule: dict[str, Any]) -> None:
        file = folder / f"{rule['kind']}.yaml"
        file.write_text(yaml.safe_dump({"rule": rule}))
        service.command("rule", "set", str(file), "--change-stable")

    with Load(examples, clients=2, users=100) as load:
        apply_rule(CANARY)
        load.wait_for(50, ("v2", "split"))
        for _ in range(2):  # an increase needs two values of a series
            time.sleep(REPORT_S)
            for pid in pids(service, "CandidatePool"):
                os.kill(pid, signal.SIGKILL)
            load.wait_for(5, ("v1", "fallback"))
            load.wait_for(20, ("v2", "split"))
        apply_rule(SHADOW)
        for request in load.wait_for(20)[:5]:
            body = {"prediction_id": request.body["prediction_id"], "correct": True}
            assert service.http.post("/v1/feedback", json=body).status_code == 200
        time.sleep(2 * REPORT_S)
    assert load.failed == []
    return prometheus


def pids(service: Any, pool: str) -> list[int]:
    facts = service.get_control("status")["applications"]["animals"]["deployments"][pool]
    return [replica["pid"] for replica in facts["replicas"] if replica["state"] == "RUNNING"]


def wait(condition: Callable[[], object], message: Callable[[], object]) -> None:
    deadline = time.monotonic() + QUERY_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, message()
        time.sleep(1)


def test_every_query_of_the_dashboard_returns_values(prometheus_with_data: Prometheus) -> None:
    """The annotations show changes of the rule."""
    all_queries = [*queries.panel_queries(), *queries.annotation_queries()]

    def empty_queries() -> list[tuple[str, str]]:
        return [query for query in all_queries if not prometheus_with_data.values(query[1])]

    wait(lambda: not empty_queries(), empty_queries)


def test_every_rule_is_evaluated_and_every_recording_rule_has_values(
    prometheus_with_data: Prometheus,
) -> None:
    evaluated = [
        rule for group in prometheus_with_data.get("rules")["groups"] for rule in group["rules"]
    ]
    assert Counter(rule["name"] for rule in evaluated) == Counter(
        rule.get("alert") or rule["record"] for rule in queries.rules()
    )
    assert {(rule["health"], rule.get("lastError", "")) for rule in evaluated} == {("ok", "")}
    for rule in evaluated:
        if rule["type"] == "recording":
            assert prometheus_with_data.values(rule["name"]), rule["name"]


def test_the_metrics_count_the_traffic(prometheus_with_data: Prometheus) -> None:
    """Labels have the values that the dashboard and the alerts select."""
    for query in (
        'ray_serve_app_requests_total{assigned="v2", served="v2", reason="split", error=""} > 0',
        'ray_serve_app_requests_total{assigned="v2", served="v1", reason="fallback"} > 0',
        'ray_serve_app_requests_total{rule="canary_parallel", route="/v1/classify"} > 0',
        'ray_serve_app_requests_total{rule="shadow", assigned="v1", reason="static"} > 0',
        'ray_serve_app_requests_total{route="/v1/feedback", status="200"} >= 5',
        'ray_serve_app_rule{rule="shadow", stable="v1", candidate="v2"} == 1',
        'ray_serve_app_candidate{state="up"} == 1',
        'ray_serve_app_shadow_copies_total{outcome="copied"} > 0',
        'ray_serve_app_exposures{state="delivered"} > 0',
        'ray_serve_app_shadow_pairs{state="delivered"} > 0',
        "ray_serve_app_effective_weight == 0.5",
        'deployment:serve_app_replicas:healthy{deployment="CandidatePool"} > 0',
    ):
        assert prometheus_with_data.values(query), query


def test_no_alert_fires_for_a_healthy_service(prometheus_with_data: Prometheus) -> None:
    names = "ServeAppNoReplica|ServeAppSilent|ServeAppExposuresDropped|ServeAppRuleRejected"
    query = f'ALERTS{{alertname=~"{names}", alertstate="firing"}}'
    assert prometheus_with_data.get("query", query=query)["result"] == []
