"""Tests of the fallback: stable serves when the candidate fails, and the failure is recorded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serve_app.data_plane.images import EncodedImage
from serve_app.data_plane.plane import ClassifyResult
from serve_app.data_plane.pools import LATE_S
from serve_app.errors import Busy, NotReady, TooSlow, UnusableImage
from serve_app.recording.records import Exposure
from serve_app.rules.plan import Context, Pool, Reason
from serve_app.trace import Trace
from tests.unit.recording.fakes import wait_until
from tests.unit.service import (
    AB,
    CANDIDATE_FAILURES,
    PARALLEL,
    ROLLING,
    SINGLE,
    Service,
    expected_probabilities,
    image,
)

CAT, DOG, KOALA = image("cat"), image("dog"), image("koala")
V1_LABEL = ("cat", "dog")[int(expected_probabilities("v1", KOALA).argmax())]  # for the koala
ALL_USERS = AB | {"weight": 1.0}
SPLIT_RULES = [PARALLEL, ROLLING, ALL_USERS]
TAGGED = Context("r-1", user="u" * 32, region="AU", tag=True)
failure_ids = [f"{type(override).__name__}" for override, _ in CANDIDATE_FAILURES]
rule_kinds = [rule["kind"] for rule in SPLIT_RULES]


async def classify(
    service: Service,
    context: Context = TAGGED,
    images: tuple[bytes, ...] = (KOALA,),
    trace: Trace | None = None,
) -> ClassifyResult:
    return await service.plane.classify(
        [EncodedImage(data) for data in images],
        context,
        trace or Trace("r-1", "POST", "/v1/classify"),
        started=0,
    )


def summarize(exposure: Exposure) -> tuple[str, str | None, str | None, str | None]:
    return exposure.reason, exposure.assigned, exposure.served, exposure.error


@pytest.mark.parametrize("rule", SPLIT_RULES, ids=rule_kinds)
@pytest.mark.parametrize(("override", "code"), CANDIDATE_FAILURES, ids=failure_ids)
def test_stable_serves_when_the_candidate_fails_and_the_failure_counts_for_the_candidate(
    service: Service, rule: dict[str, Any], override: Any, code: str
) -> None:
    """Reports count by the assigned version; otherwise a crashing v2 would look perfect."""
    service.apply_rule_with_candidate(**rule)
    service.pools.overrides["v2"] = override
    result = service.run(classify(service))
    assert result.plan.reason is Reason.FALLBACK
    assert result.prediction.version == "v1"
    assert np.array_equal(result.prediction.probabilities, expected_probabilities("v1", KOALA))
    (exposure,) = service.exposures()
    reason = "split" if rule is ALL_USERS else "tagged"
    assert summarize(exposure) == (reason, "v2", "v1", code)
    assert (exposure.label, exposure.user, exposure.region) == (V1_LABEL, "u" * 32, "AU")
    decoded = service.id_codec.decode(result.prediction_ids[0])
    assert (decoded.version, decoded.label, decoded.sequence) == ("v2", V1_LABEL, 1)


@pytest.mark.parametrize("rule", SPLIT_RULES, ids=rule_kinds)
def test_a_working_candidate_serves_without_a_failure(
    service: Service, rule: dict[str, Any]
) -> None:
    service.apply_rule_with_candidate(**rule)
    result = service.run(classify(service))
    assert np.array_equal(result.prediction.probabilities, expected_probabilities("v2", KOALA))
    assert result.plan.reason is (Reason.SPLIT if rule is ALL_USERS else Reason.TAGGED)
    (exposure,) = service.exposures()
    assert (exposure.assigned, exposure.served, exposure.error) == ("v2", "v2", None)
    assert exposure.label == "koala"
    assert len(service.pools.calls) == 1


def test_stable_serves_after_the_timeout_of_the_candidate(service: Service) -> None:
    service.apply_rule_with_candidate(**PARALLEL, timeout_s=1.5)
    service.pools.overrides["v2"] = asyncio.Event()

    async def measure() -> float:
        start_s = asyncio.get_running_loop().time()
        result = await classify(service)
        assert result.prediction.version == "v1"
        return asyncio.get_running_loop().time() - start_s

    assert service.run(measure()) == pytest.approx(1.5)
    assert [summarize(e) for e in service.exposures()] == [("tagged", "v2", "v1", "too_slow")]


def test_a_candidate_without_replica_falls_back_before_the_timeout(service: Service) -> None:
    service.apply_rule_with_candidate(**PARALLEL)
    service.pools.overrides["v2"] = asyncio.Event()
    service.pools.unreported_versions = {"v2"}

    async def measure() -> float:
        breaker_task = asyncio.create_task(service.plane.breaker.run())
        start_s = asyncio.get_running_loop().time()
        result = await classify(service)
        assert result.prediction.version == "v1"
        breaker_task.cancel()
        return asyncio.get_running_loop().time() - start_s

    assert service.run(measure()) == pytest.approx(LATE_S)
    assert [summarize(e) for e in service.exposures()] == [("tagged", "v2", "v1", "not_ready")]


def test_an_open_breaker_falls_back_without_a_call(service: Service) -> None:
    service.apply_rule_with_candidate(**PARALLEL)
    service.stop_candidate()
    assert service.run(classify(service)).prediction.version == "v1"
    assert [call.pool for call in service.pools.calls] == [Pool.STABLE]
    assert [summarize(e) for e in service.exposures()] == [("tagged", "v2", "v1", "not_ready")]


def test_a_tag_falls_back_before_the_candidate_is_ready(service: Service) -> None:
    service.apply_rule(**PARALLEL)
    assert service.run(classify(service)).plan.reason is Reason.FALLBACK
    assert [summarize(e) for e in service.exposures()] == [("tagged", "v2", "v1", "not_ready")]


def test_users_keep_their_assignment_while_the_breaker_is_open(service: Service) -> None:
    service.apply_rule_with_candidate(**PARALLEL | {"weight": 0.5})
    users = [Context("r-1", user=f"user-{number}") for number in range(40)]
    plans = [service.plane.plan(user) for user in users]
    service.stop_candidate()
    assert [service.plane.plan(user) for user in users] == plans
    assert {plan.assigned for plan in plans} == {"v1", "v2"}
    for user in users:
        assert service.run(classify(service, user)).prediction.version == "v1"
    assert [(e.reason, e.assigned) for e in service.exposures()] == [
        ("split", plan.assigned) for plan in plans
    ]


def test_the_trace_has_the_fallback(service: Service) -> None:
    service.apply_rule_with_candidate(**PARALLEL)
    service.pools.overrides["v2"] = Busy("full")
    trace = Trace("r-1", "POST", "/v1/classify")
    service.run(classify(service, trace=trace))
    assert (trace.rule, trace.reason, trace.error) == ("canary_parallel", "fallback", "busy")
    assert (trace.assigned, trace.served, trace.model_ms) == ("v2", "v1", 1.5)


def test_an_unusable_image_causes_no_fallback_and_no_exposure(service: Service) -> None:
    """A broken file must not count as a failure of the candidate."""
    service.apply_rule_with_candidate(**PARALLEL)
    with pytest.raises(UnusableImage):
        service.run(classify(service, images=(KOALA[:1000],)))
    assert service.pools.calls == []
    assert service.exposures() == []


def test_an_image_that_is_unusable_at_the_candidates_size_causes_no_fallback(
    service: Service,
) -> None:
    service.apply_rule_with_candidate(**PARALLEL)
    service.pools.overrides["v2"] = UnusableImage("broken_image", "its end is missing")
    with pytest.raises(UnusableImage):
        service.run(classify(service))
    assert [call.pool for call in service.pools.calls] == [Pool.CANDIDATE]
    assert [summarize(e) for e in service.exposures()] == [("tagged", "v2", None, "broken_image")]


@pytest.mark.parametrize(
    "failure", [NotReady("no replica"), Busy("full"), RuntimeError("unexpected")]
)
def test_a_failed_fallback_is_recorded_once_for_the_assigned_version(
    service: Service, failure: Exception
) -> None:
    service.apply_rule_with_candidate(**PARALLEL)
    service.pools.overrides = {"v2": TooSlow("15 s"), "v1": failure}
    trace = Trace("r-1", "POST", "/v1/classify")
    with pytest.raises(type(failure)):
        service.run(classify(service, trace=trace))
    code = getattr(failure, "code", "internal")
    assert [summarize(e) for e in service.exposures()] == [("tagged", "v2", None, code)]
    assert (trace.assigned, trace.served) == ("v2", None)


def test_a_disconnect_during_the_candidates_call_causes_no_fallback(
    service: Service,
) -> None:
    """A disconnect counts as a failure of the assigned version."""
    service.apply_rule_with_candidate(**PARALLEL)
    service.pools.overrides["v2"] = asyncio.Event()

    async def disconnect() -> None:
        request = asyncio.create_task(classify(service))
        await wait_until(lambda: bool(service.pools.calls))
        request.cancel()
        await asyncio.wait([request])
        assert request.cancelled()

    service.run(disconnect())
    assert [call.pool for call in service.pools.calls] == [Pool.CANDIDATE]
    assert [summarize(e) for e in service.exposures()] == [("tagged", "v2", None, "client_gone")]
    assert service.plane.breaker.is_closed


def test_a_disconnect_during_the_fallback_is_recorded_once(service: Service) -> None:
    service.apply_rule_with_candidate(**PARALLEL)
    service.pools.overrides = {"v2": Busy("full"), "v1": asyncio.Event()}

    async def disconnect() -> None:
        request = asyncio.create_task(classify(service))
        await wait_until(lambda: len(service.pools.calls) == 2)
        request.cancel()
        await asyncio.wait([request])

    service.run(disconnect())
    assert [summarize(e) for e in service.exposures()] == [("tagged", "v2", None, "client_gone")]


def test_all_images_of_a_request_fall_back_together(service: Service) -> None:
    service.apply_rule_with_candidate(**PARALLEL)
    service.pools.overrides["v2"] = NotReady("no replica")
    result = service.run(classify(service, images=(CAT, DOG, KOALA)))
    assert len(result.prediction.probabilities) == 3
    assert [summarize(e) for e in service.exposures()] == [("tagged", "v2", "v1", "not_ready")] * 3
    decoded = [service.id_codec.decode(name) for name in result.prediction_ids]
    assert [(p.sequence, p.label, p.version) for p in decoded] == [
        (1, "cat", "v2"),
        (2, "dog", "v2"),
        (3, V1_LABEL, "v2"),
    ]


@pytest.mark.parametrize("rule", [SINGLE, *SPLIT_RULES], ids=["single", *rule_kinds])
def test_a_pin_has_no_fallback(service: Service, rule: dict[str, Any]) -> None:
    """The client chose the version."""
    pinned = rule | {"allow_pin": True}
    service.apply_rule(**pinned) if rule is SINGLE else service.apply_rule_with_candidate(**pinned)
    service.pools.overrides["v2"] = TooSlow("15 s")
    with pytest.raises(TooSlow):
        service.run(classify(service, replace(TAGGED, pin="v2")))
    assert [(call.pool, call.version) for call in service.pools.calls] == [(Pool.STABLE, "v2")]
    assert [summarize(e) for e in service.exposures()] == [("pinned", "v2", None, "too_slow")]


def test_stable_has_no_fallback(service: Service) -> None:
    service.apply_rule_with_candidate(**PARALLEL)
    service.pools.overrides["v1"] = Busy("full")
    with pytest.raises(Busy):
        service.run(classify(service, replace(TAGGED, tag=False)))
    assert [summarize(e) for e in service.exposures()] == [("tagged", "v1", None, "busy")]


def test_the_fallback_gets_images_of_its_own_input_size(service: Service) -> None:
    service.pools.input_sides["v2"] = 56
    service.apply_rule_with_candidate(**PARALLEL)
    assert service.run(classify(service)).prediction.version == "v2"
    service.pools.overrides["v2"] = NotReady("no replica")
    result = service.run(classify(service))
    assert np.array_equal(result.prediction.probabilities, expected_probabilities("v1", KOALA))
    sides = [(call.pool, call.shape[1]) for call in service.pools.calls]
    assert sides == [
        (Pool.CANDIDATE, 112),
        (Pool.CANDIDATE, 56),
        (Pool.CANDIDATE, 56),
        (Pool.STABLE, 112),
    ]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_another_version_in_the_stable_pool_is_recorded_as_a_failure(
    service: Service, version: str
) -> None:
    """For example during an update: the prediction is not one of the assigned version."""
    service.apply_rule_with_candidate(**PARALLEL)
    service.pools.assigned[Pool.STABLE] = version
    result = service.run(classify(service, Context("r-1", user="u" * 32, tag=False)))
    assert result.prediction.version == version
    (exposure,) = service.exposures()
    assert (exposure.assigned, exposure.served) == ("v1", version)
    assert exposure.error == (None if version == "v1" else "not_ready")
    assert (exposure.own_model_ms is None) is (version == "v2")
