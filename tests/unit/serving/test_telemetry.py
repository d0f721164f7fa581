"""What an ingress tells Prometheus."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import BadConfig
from serve_app.trace import Trace
from tests.unit.recording.fakes import JumpingLoop
from tests.unit.service import AB, PARALLEL, SHADOW, Service
from tests.unit.serving.meters import Meters

with warnings.catch_warnings():  # Serve's modules use what pydantic will take away
    warnings.simplefilter("ignore")
    from serve_app.serving import telemetry
    from serve_app.serving.telemetry import Telemetry


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> Meters:
    meters = Meters()
    monkeypatch.setattr(telemetry, "metrics", meters)
    return meters


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path, loop=JumpingLoop) as service:
        yield service


@pytest.fixture
def written(meters: Meters, service: Service) -> Any:
    """The values of a metric, by its labels, after what was answered until now is written."""
    observed = Telemetry(service.recorder)

    def write(name: str) -> dict[tuple[str, ...], float]:
        while service.traces:
            observed.answered(service.traces.pop(0))
        observed.write(service.plane)
        return dict(meters.made[f"serve_app_{name}"].values)

    return write


def test_a_request_is_counted_by_what_became_of_it(
    service: Service, meters: Meters, written: Any
) -> None:
    for _ in range(2):
        service.classify()
    service.classify(b"no image")
    service.ask("GET", "/healthz")
    assert written("requests") == {
        ("/v1/classify", "200", "", "single", "v1", "v1", "static"): 2,
        ("/v1/classify", "422", "unsupported_image", "single", "", "", "static"): 1,
        ("/healthz", "200", "", "", "", "", ""): 1,
    }
    (latencies,) = meters.made["serve_app_latency_ms"].observed.values()
    assert len(latencies) == 2, "of what was answered by a version"
    assert meters.made["serve_app_model_ms"].observed == {("v1",): [1.5, 1.5]}


def test_a_fallback_is_counted_at_the_version_that_was_assigned(
    service: Service, meters: Meters, written: Any
) -> None:
    service.try_out(**PARALLEL | {"weight": 0.5})
    service.pools.fates["v2"] = RuntimeError("it crashes")
    service.classify(x_canary="always")
    assert written("requests") == {
        ("/v1/classify", "200", "internal", "canary_parallel", "v2", "v1", "fallback"): 1
    }
    assert list(meters.made["serve_app_latency_ms"].observed) == [
        ("canary_parallel", "v2", "v1", "fallback")
    ]


def test_exposures_and_pairs_are_told_by_where_they_are(service: Service, written: Any) -> None:
    service.try_out(**SHADOW)
    service.classify()
    waiting = {("recorded",): 1, ("delivered",): 0, ("dropped",): 0, ("waiting",): 1}
    assert written("exposures") == waiting
    service.batches()
    arrived = {("recorded",): 1, ("delivered",): 1, ("dropped",): 0, ("waiting",): 0}
    assert written("exposures") == arrived
    assert written("shadow_pairs") == arrived
    assert written("shadow_copies") == {("copied",): 1}
    assert written("shadow_copies") == {("copied",): 1}, "once"
    assert written("shadow_share") == {(): 1.0}


def test_the_rule_in_force_has_one_and_the_one_before_has_none(
    service: Service, written: Any
) -> None:
    single = service.plane.rule.rule_id
    assert written("rule") == {("single", single, "v1", ""): 1}
    assert written("rule") == {("single", single, "v1", ""): 1}
    trial = service.apply_rule(**AB).rule_id
    assert written("rule") == {
        ("single", single, "v1", ""): 0,
        ("ab_test", trial, "v1", "v2"): 1,
    }
    service.apply_rule()
    assert written("rule") == {
        ("single", single, "v1", ""): 1,
        ("ab_test", trial, "v1", "v2"): 0,
    }


def test_the_candidate_is_wanted_then_ready_then_up(service: Service, written: Any) -> None:
    def told() -> tuple[float, ...]:
        states = written("candidate")
        return states["wanted",], states["ready",], states["up",]

    assert told() == (0, 0, 0)
    service.apply_rule(**PARALLEL)
    assert told() == (1, 0, 0)
    assert written("effective_weight") == {(): 0.0}
    service.try_out(**PARALLEL)
    assert told() == (1, 1, 1)
    assert written("effective_weight") == {(): 0.3}
    service.plane.breaker.record_unreachable(service.plane.rule.candidate_replicas)
    assert told() == (1, 1, 0)
    service.apply_rule()
    assert told() == (0, 0, 0)


def test_a_rejected_rule_shows_until_a_good_one_comes(service: Service, written: Any) -> None:
    assert written("rule_rejected") == {(): 0}
    service.plane.reject(BadConfig("rule.weight", "is 0.6"))
    assert written("rule_rejected") == {(): 1}
    service.apply_rule()
    assert written("rule_rejected") == {(): 0}


def test_what_exceeds_the_buffer_is_neither_kept_nor_an_error(
    service: Service, meters: Meters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "MAX_WAITING", 2)
    observed = Telemetry(service.recorder)
    for number in range(3):
        observed.answered(Trace(f"r-{number}", "GET", "/healthz", route="/healthz", status=200))
    observed.write(service.plane)
    assert sum(meters.made["serve_app_requests"].values.values()) == 2


def test_before_any_rule_there_is_no_rule_to_tell_of(service: Service, written: Any) -> None:
    service.plane._rule = None
    assert written("rule") == {}
    assert written("candidate") == {}
    assert written("effective_weight") == {(): 0.0}
