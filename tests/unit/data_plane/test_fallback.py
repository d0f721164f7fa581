"""The candidate may never hurt the user: where it cannot answer, stable does, and it is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.preprocess import Pixels
from serve_app.data_plane.images import EncodedImage
from serve_app.data_plane.plane import ClassifyResult
from serve_app.data_plane.pools import LATE_S, Prediction, Unavailable, WrongInputSize
from serve_app.domain import Context, Exposure, Pool, Reason
from serve_app.errors import Busy, NotReady, Problem, TooSlow, UnusableImage
from serve_app.trace import Trace
from tests.unit.recording.fakes import until
from tests.unit.service import AB, PARALLEL, ROLLING, SINGLE, Service, expected, image

CAT, DOG, KOALA = image("cat"), image("dog"), image("koala")
SAYS_V1 = ("cat", "dog")[int(expected("v1", KOALA).argmax())]  # of the koala
EVERYBODY = AB | {"weight": 1.0}
TRIALS = [PARALLEL, ROLLING, EVERYBODY]
TAGGED = Context("r-1", user="u" * 32, region="AU", tag=True)
OTHER_VERSION = Prediction("v1", ("cat", "dog"), np.array([[0.5, 0.5]], np.float32), 1.0)
FAILURES: list[tuple[Any, str]] = [
    (NotReady("gone"), "not_ready"),
    (TooSlow("15 s"), "too_slow"),
    (TimeoutError(), "too_slow"),
    (Busy("full"), "busy"),
    (Problem("it crashed"), "internal"),
    (RuntimeError("nobody foresaw this"), "internal"),
    (Unavailable("v2 cannot be loaded"), "not_ready"),
    (WrongInputSize("v2", 32), "not_ready"),
    (OTHER_VERSION, "not_ready"),
]
names = [f"{type(fate).__name__}" for fate, _ in FAILURES]
kinds = [rule["kind"] for rule in TRIALS]


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


def facts(exposure: Exposure) -> tuple[str, str | None, str | None, str | None]:
    return exposure.reason, exposure.assigned, exposure.served, exposure.error


@pytest.mark.parametrize("rule", TRIALS, ids=kinds)
@pytest.mark.parametrize(("fate", "code"), FAILURES, ids=names)
def test_whatever_the_candidate_meets_stable_answers_and_the_candidate_is_blamed(
    service: Service, rule: dict[str, Any], fate: Any, code: str
) -> None:
    """Every report counts by the assigned version: else a crashing v2 would look perfect."""
    service.try_out(**rule)
    service.pools.fates["v2"] = fate
    prediction = service.run(classify(service))
    assert prediction.plan.reason is Reason.FALLBACK
    assert prediction.answer.version == "v1"
    assert np.array_equal(prediction.answer.probabilities, expected("v1", KOALA))
    (exposure,) = service.exposures()
    reason = "split" if rule is EVERYBODY else "tagged"
    assert facts(exposure) == (reason, "v2", "v1", code)
    assert (exposure.label, exposure.user, exposure.region) == (SAYS_V1, "u" * 32, "AU")
    opened = service.id_codec.decode(prediction.prediction_ids[0])
    assert (opened.version, opened.label, opened.sequence) == ("v2", SAYS_V1, 1)


@pytest.mark.parametrize("rule", TRIALS, ids=kinds)
def test_a_candidate_that_is_well_answers_and_nobody_is_blamed(
    service: Service, rule: dict[str, Any]
) -> None:
    service.try_out(**rule)
    prediction = service.run(classify(service))
    assert np.array_equal(prediction.answer.probabilities, expected("v2", KOALA))
    assert prediction.plan.reason is (Reason.SPLIT if rule is EVERYBODY else Reason.TAGGED)
    (exposure,) = service.exposures()
    assert (exposure.assigned, exposure.served, exposure.error) == ("v2", "v2", None)
    assert exposure.label == "koala"
    assert len(service.pools.calls) == 1


def test_what_answers_too_late_is_left_and_stable_asked(service: Service) -> None:
    service.try_out(**PARALLEL, timeout_s=1.5)
    service.pools.fates["v2"] = asyncio.Event()

    async def timed() -> float:
        began = asyncio.get_running_loop().time()
        prediction = await classify(service)
        assert prediction.answer.version == "v1"
        return asyncio.get_running_loop().time() - began

    assert service.run(timed()) == pytest.approx(1.5)
    assert [facts(e) for e in service.exposures()] == [("tagged", "v2", "v1", "too_slow")]


def test_a_candidate_that_is_gone_is_left_before_its_time_is_up(service: Service) -> None:
    service.try_out(**PARALLEL)
    service.pools.fates["v2"] = asyncio.Event()
    service.pools.hidden = {"v2"}

    async def timed() -> float:
        watching = asyncio.create_task(service.plane.breaker.run())
        began = asyncio.get_running_loop().time()
        prediction = await classify(service)
        assert prediction.answer.version == "v1"
        watching.cancel()
        return asyncio.get_running_loop().time() - began

    assert service.run(timed()) == pytest.approx(LATE_S)
    assert [facts(e) for e in service.exposures()] == [("tagged", "v2", "v1", "not_ready")]


def test_a_candidate_that_is_down_is_not_even_asked(service: Service) -> None:
    service.try_out(**PARALLEL)
    service.take_down()
    assert service.run(classify(service)).answer.version == "v1"
    assert [call.pool for call in service.pools.calls] == [Pool.STABLE]
    assert [facts(e) for e in service.exposures()] == [("tagged", "v2", "v1", "not_ready")]


def test_a_tag_before_the_candidate_was_ever_ready_falls_back_as_well(service: Service) -> None:
    service.apply_rule(**PARALLEL)
    assert service.run(classify(service)).plan.reason is Reason.FALLBACK
    assert [facts(e) for e in service.exposures()] == [("tagged", "v2", "v1", "not_ready")]


def test_a_user_of_the_candidate_stays_its_user_while_it_is_down(service: Service) -> None:
    service.try_out(**PARALLEL | {"weight": 0.5})
    users = [Context("r-1", user=f"user-{number}") for number in range(40)]
    plans = [service.plane.plan(user) for user in users]
    service.take_down()
    assert [service.plane.plan(user) for user in users] == plans
    assert {plan.assigned for plan in plans} == {"v1", "v2"}
    for user in users:
        assert service.run(classify(service, user)).answer.version == "v1"
    assert [(e.reason, e.assigned) for e in service.exposures()] == [
        ("split", plan.assigned) for plan in plans
    ]


def test_the_trace_tells_of_the_fallback(service: Service) -> None:
    service.try_out(**PARALLEL)
    service.pools.fates["v2"] = Busy("full")
    trace = Trace("r-1", "POST", "/v1/classify")
    service.run(classify(service, trace=trace))
    assert (trace.rule, trace.reason, trace.error) == ("canary_parallel", "fallback", "busy")
    assert (trace.assigned, trace.served, trace.model_ms) == ("v2", "v1", 1.5)


def test_an_image_that_cannot_be_read_is_no_fallback_and_no_exposure(service: Service) -> None:
    """Nobody's broken file fails a canary."""
    service.try_out(**PARALLEL)
    with pytest.raises(UnusableImage):
        service.run(classify(service, images=(KOALA[:1000],)))
    assert service.pools.calls == []
    assert service.exposures() == []


def test_an_image_that_breaks_only_at_the_candidates_size_is_no_fallback(
    service: Service,
) -> None:
    service.try_out(**PARALLEL)
    service.pools.fates["v2"] = UnusableImage("broken_image", "its end is missing")
    with pytest.raises(UnusableImage):
        service.run(classify(service))
    assert [call.pool for call in service.pools.calls] == [Pool.CANDIDATE]
    assert [facts(e) for e in service.exposures()] == [("tagged", "v2", None, "broken_image")]


@pytest.mark.parametrize("failure", [NotReady("gone"), Busy("full"), RuntimeError("who knows")])
def test_a_fallback_that_fails_is_recorded_once_against_the_assigned_version(
    service: Service, failure: Exception
) -> None:
    service.try_out(**PARALLEL)
    service.pools.fates = {"v2": TooSlow("15 s"), "v1": failure}
    trace = Trace("r-1", "POST", "/v1/classify")
    with pytest.raises(type(failure)):
        service.run(classify(service, trace=trace))
    code = getattr(failure, "code", "internal")
    assert [facts(e) for e in service.exposures()] == [("tagged", "v2", None, code)]
    assert (trace.assigned, trace.served) == ("v2", None)


def test_a_client_that_hangs_up_during_the_candidates_call_asks_stable_for_nothing(
    service: Service,
) -> None:
    """A version whose users give up has failed them."""
    service.try_out(**PARALLEL)
    service.pools.fates["v2"] = asyncio.Event()

    async def hang_up() -> None:
        request = asyncio.create_task(classify(service))
        await until(lambda: bool(service.pools.calls))
        request.cancel()
        await asyncio.wait([request])
        assert request.cancelled()

    service.run(hang_up())
    assert [call.pool for call in service.pools.calls] == [Pool.CANDIDATE]
    assert [facts(e) for e in service.exposures()] == [("tagged", "v2", None, "client_gone")]
    assert service.plane.breaker.is_closed


def test_a_client_that_hangs_up_during_the_fallback_is_recorded_once(service: Service) -> None:
    service.try_out(**PARALLEL)
    service.pools.fates = {"v2": Busy("full"), "v1": asyncio.Event()}

    async def hang_up() -> None:
        request = asyncio.create_task(classify(service))
        await until(lambda: len(service.pools.calls) == 2)
        request.cancel()
        await asyncio.wait([request])

    service.run(hang_up())
    assert [facts(e) for e in service.exposures()] == [("tagged", "v2", None, "client_gone")]


def test_images_of_one_request_fall_back_together(service: Service) -> None:
    service.try_out(**PARALLEL)
    service.pools.fates["v2"] = NotReady("gone")
    prediction = service.run(classify(service, images=(CAT, DOG, KOALA)))
    assert len(prediction.answer.probabilities) == 3
    assert [facts(e) for e in service.exposures()] == [("tagged", "v2", "v1", "not_ready")] * 3
    opened = [service.id_codec.decode(name) for name in prediction.prediction_ids]
    assert [(p.sequence, p.label, p.version) for p in opened] == [
        (1, "cat", "v2"),
        (2, "dog", "v2"),
        (3, SAYS_V1, "v2"),
    ]


@pytest.mark.parametrize("rule", [SINGLE, *TRIALS], ids=["single", *kinds])
def test_a_pin_falls_back_on_nobody(service: Service, rule: dict[str, Any]) -> None:
    """Who asks for a version wants that one."""
    pinned = rule | {"allow_pin": True}
    service.apply_rule(**pinned) if rule is SINGLE else service.try_out(**pinned)
    service.pools.fates["v2"] = TooSlow("15 s")
    with pytest.raises(TooSlow):
        service.run(classify(service, replace(TAGGED, pin="v2")))
    assert [(call.pool, call.version) for call in service.pools.calls] == [(Pool.STABLE, "v2")]
    assert [facts(e) for e in service.exposures()] == [("pinned", "v2", None, "too_slow")]


def test_stable_falls_back_on_nobody(service: Service) -> None:
    service.try_out(**PARALLEL)
    service.pools.fates["v1"] = Busy("full")
    with pytest.raises(Busy):
        service.run(classify(service, replace(TAGGED, tag=False)))
    assert [facts(e) for e in service.exposures()] == [("tagged", "v1", None, "busy")]


def test_the_images_are_made_in_the_size_of_whoever_answers(service: Service) -> None:
    service.pools.sides["v2"] = 56
    service.try_out(**PARALLEL)
    assert service.run(classify(service)).answer.version == "v2"
    service.pools.fates["v2"] = NotReady("gone")
    prediction = service.run(classify(service))
    assert np.array_equal(prediction.answer.probabilities, expected("v1", KOALA))
    sides = [(call.pool, call.shape[1]) for call in service.pools.calls]
    assert sides == [
        (Pool.CANDIDATE, 112),
        (Pool.CANDIDATE, 56),
        (Pool.CANDIDATE, 56),
        (Pool.STABLE, 112),
    ]


def test_three_answers_too_late_in_a_row_spare_the_next_users_the_wait(service: Service) -> None:
    service.try_out(**PARALLEL)
    service.pools.fates["v2"] = TooSlow("15 s")
    service.pools.hidden = {"v2"}
    for _ in range(5):
        assert service.run(classify(service)).answer.version == "v1"
    asked = [call.pool for call in service.pools.calls]
    assert asked.count(Pool.CANDIDATE) == 3
    assert [e.error for e in service.exposures()] == ["too_slow"] * 3 + ["not_ready"] * 2


def test_slow_answers_with_good_ones_between_bring_nobody_down(service: Service) -> None:
    service.try_out(**PARALLEL)
    service.pools.hidden = {"v2"}  # were it down, it would stay so
    for _ in range(4):
        service.pools.fates["v2"] = TooSlow("15 s")
        for _ in range(2):
            assert service.run(classify(service)).answer.version == "v1"
        service.pools.fates.clear()
        assert service.run(classify(service)).answer.version == "v2"


def test_a_candidate_that_cannot_be_reached_is_asked_once(service: Service) -> None:
    service.try_out(**PARALLEL)
    service.pools.fates["v2"] = NotReady("gone")
    service.pools.hidden = {"v2"}
    for _ in range(3):
        assert service.run(classify(service)).answer.version == "v1"
    asked = [call.pool for call in service.pools.calls]
    assert asked.count(Pool.CANDIDATE) == 1


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_stable_that_holds_another_version_is_told_apart(service: Service, version: str) -> None:
    """While its pool is changed, say: what it says is no word of the assigned version."""
    service.try_out(**PARALLEL)
    service.pools.assigned[Pool.STABLE] = version
    prediction = service.run(classify(service, Context("r-1", user="u" * 32, tag=False)))
    assert prediction.answer.version == version
    (exposure,) = service.exposures()
    assert (exposure.assigned, exposure.served) == ("v1", version)
    assert exposure.error == (None if version == "v1" else "not_ready")
    assert (exposure.own_model_ms is None) is (version == "v2")


def test_a_request_of_the_rule_before_blames_no_candidate_that_is_well(service: Service) -> None:
    """The canary ends while its image is decoded; nor does the next candidate hear of it."""
    service.try_out(**PARALLEL)

    class Meanwhile(EncodedImage):
        def pixels(self, side: int) -> Pixels:
            service.apply_rule(**SINGLE)
            return super().pixels(side)

    trace = Trace("r-1", "POST", "/v1/classify")
    service.run(service.plane.classify([Meanwhile(KOALA)], TAGGED, trace, started=0))
    (exposure,) = service.exposures()
    assert (exposure.assigned, exposure.served, exposure.error) == ("v2", "v2", None)
