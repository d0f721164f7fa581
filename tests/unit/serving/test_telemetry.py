"""Metrics of an ingress."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import BadConfig
from serve_app.trace import Trace
from tests.unit.recording.fakes import VirtualTimeLoop
from tests.unit.service import AB, PARALLEL, SHADOW, Service
from tests.unit.serving.fake_metrics import FakeMetrics

with warnings.catch_warnings():  # deprecated pydantic features in Serve's modules
    warnings.simplefilter("ignore")
    from serve_app.serving import telemetry
    from serve_app.serving.telemetry import Telemetry


@pytest.fixture
def fake_metrics(monkeypatch: pytest.MonkeyPatch) -> FakeMetrics:
    fake_metrics = FakeMetrics()
    monkeypatch.setattr(telemetry, "metrics", fake_metrics)
    return fake_metrics


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path, loop=VirtualTimeLoop) as service:
        yield service


@pytest.fixture
def read_metric(fake_metrics: FakeMetrics, service: Service) -> Any:
    """Returns the values of a metric by its labels, after the traces so far are written."""
    writer = Telemetry(service.recorder)

    def read(name: str) -> dict[tuple[str, ...], float]:
        while service.traces:
            writer.record_trace(service.traces.pop(0))
        writer.write(service.plane)
        return dict(fake_metrics.created[f"serve_app_{name}"].values)

    return read


def test_requests_are_counted_by_their_outcome(
    service: Service, fake_metrics: FakeMetrics, read_metric: Any
) -> None:
    for _ in range(2):
        service.classify()
    service.classify(b"no image")
    service.request("GET", "/healthz")
    assert read_metric("requests") == {
        ("/v1/classify", "200", "", "single", "v1", "v1", "static"): 2,
        ("/v1/classify", "422", "unsupported_image", "single", "", "", "static"): 1,
        ("/healthz", "200", "", "", "", "", ""): 1,
    }
    (latencies,) = fake_metrics.created["serve_app_latency_ms"].observed.values()
    assert len(latencies) == 2, "only of responses with a prediction"
    assert fake_metrics.created["serve_app_model_ms"].observed == {("v1",): [1.5, 1.5]}


def test_a_fallback_is_counted_for_the_assigned_version(
    service: Service, fake_metrics: FakeMetrics, read_metric: Any
) -> None:
    service.apply_rule_with_candidate(**PARALLEL | {"weight": 0.5})
    service.pools.overrides["v2"] = RuntimeError("it crashes")
    service.classify(x_canary="always")
    assert read_metric("requests") == {
        ("/v1/classify", "200", "internal", "canary_parallel", "v2", "v1", "fallback"): 1
    }
    assert list(fake_metrics.created["serve_app_latency_ms"].observed) == [
        ("canary_parallel", "v2", "v1", "fallback")
    ]


def test_exposures_and_pairs_are_counted_by_state(service: Service, read_metric: Any) -> None:
    service.apply_rule_with_candidate(**SHADOW)
    service.classify()
    waiting = {("recorded",): 1, ("delivered",): 0, ("dropped",): 0, ("waiting",): 1}
    assert read_metric("exposures") == waiting
    service.batches()
    delivered = {("recorded",): 1, ("delivered",): 1, ("dropped",): 0, ("waiting",): 0}
    assert read_metric("exposures") == delivered
    assert read_metric("shadow_pairs") == delivered
    assert read_metric("shadow_copies") == {("copied",): 1}
    assert read_metric("shadow_copies") == {("copied",): 1}, "counted once"
    assert read_metric("shadow_share") == {(): 1.0}


def test_the_rule_in_force_is_1_and_the_previous_one_is_0(
    service: Service, read_metric: Any
) -> None:
    single = service.plane.rule.rule_id
    assert read_metric("rule") == {("single", single, "v1", ""): 1}
    assert read_metric("rule") == {("single", single, "v1", ""): 1}
    ab_test = service.apply_rule(**AB).rule_id
    assert read_metric("rule") == {
        ("single", single, "v1", ""): 0,
        ("ab_test", ab_test, "v1", "v2"): 1,
    }
    service.apply_rule()
    assert read_metric("rule") == {
        ("single", single, "v1", ""): 1,
        ("ab_test", ab_test, "v1", "v2"): 0,
    }


def test_the_candidate_states_follow_the_rule_and_the_breaker(
    service: Service, read_metric: Any
) -> None:
    def read_states() -> tuple[float, ...]:
        states = read_metric("candidate")
        return states["wanted",], states["ready",], states["up",]

    assert read_states() == (0, 0, 0)
    service.apply_rule(**PARALLEL)
    assert read_states() == (1, 0, 0)
    assert read_metric("effective_weight") == {(): 0.0}
    service.apply_rule_with_candidate(**PARALLEL)
    assert read_states() == (1, 1, 1)
    assert read_metric("effective_weight") == {(): 0.3}
    service.plane.breaker.record_unreachable(service.plane.rule.candidate_replicas)
    assert read_states() == (1, 1, 0)
    service.apply_rule()
    assert read_states() == (0, 0, 0)


def test_rule_rejected_is_1_until_a_rule_is_applied(service: Service, read_metric: Any) -> None:
    assert read_metric("rule_rejected") == {(): 0}
    service.plane.reject(BadConfig("rule.weight", "is 0.6"))
    assert read_metric("rule_rejected") == {(): 1}
    service.apply_rule()
    assert read_metric("rule_rejected") == {(): 0}


def test_traces_beyond_the_buffer_are_dropped(
    service: Service, fake_metrics: FakeMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "MAX_TRACES", 2)
    writer = Telemetry(service.recorder)
    for number in range(3):
        writer.record_trace(Trace(f"r-{number}", "GET", "/healthz", route="/healthz", status=200))
    writer.write(service.plane)
    assert sum(fake_metrics.created["serve_app_requests"].values.values()) == 2


def test_without_a_rule_the_rule_metrics_are_empty(service: Service, read_metric: Any) -> None:
    service.plane._rule = None
    assert read_metric("rule") == {}
    assert read_metric("candidate") == {}
    assert read_metric("effective_weight") == {(): 0.0}
