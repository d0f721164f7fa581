"""Tests of the mirror: one shadow pair per sampled image, and no effect on live responses."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.preprocess import Pixels
from serve_app.data_plane import mirror
from serve_app.data_plane.images import EncodedImage
from serve_app.data_plane.plane import ClassifyResult
from serve_app.data_plane.pools import PoolResponse
from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.recording.records import Exposure, ShadowPair
from serve_app.rules.plan import Context, Pool
from serve_app.trace import Trace
from tests.unit.recording.fakes import VirtualTimeLoop, wait_until
from tests.unit.service import (
    CANDIDATE_FAILURES,
    PARALLEL,
    SHADOW,
    SINGLE,
    Service,
    expected_probabilities,
    image,
)

CAT, DOG, KOALA = image("cat"), image("dog"), image("koala")
ANONYMOUS = Context("r-1")
CONTEXT_OWNER: ContextVar[str] = ContextVar("CONTEXT_OWNER", default="none")


async def classify(
    service: Service, *images: bytes, context: Context = ANONYMOUS
) -> ClassifyResult:
    return await service.plane.classify(
        [EncodedImage(data) for data in images or (KOALA,)],
        context,
        Trace("r-1", "POST", "/v1/classify"),
        started=0,
    )


async def settle(service: Service) -> None:
    await wait_until(lambda: service.plane.mirror.in_flight == 0)


def classify_and_settle(
    service: Service, *images: bytes, context: Context = ANONYMOUS
) -> ClassifyResult:
    """Send one request and wait for the outcome of its copy."""

    async def send() -> ClassifyResult:
        result = await classify(service, *images, context=context)
        await settle(service)
        return result

    return service.run(send())


def outcomes(service: Service) -> list[tuple[str, str | None]]:
    return [(pair.outcome, pair.error) for pair in service.pairs()]


def live_fields_of_exposure(exposure: Exposure) -> tuple[object, ...]:
    """The fields of an exposure that its pair repeats."""
    fields = (exposure.region, exposure.served, exposure.label)
    return (*fields, exposure.model_ms, exposure.latency_ms)


def live_fields_of_pair(pair: ShadowPair) -> tuple[object, ...]:
    """The fields of a pair that repeat the exposure."""
    fields = (pair.region, pair.live_version, pair.live_label)
    return (*fields, pair.live_model_ms, pair.live_latency_ms)


class FixedRandom:
    """Replaces the module `random`; always returns one number."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


class TestPairs:
    def test_a_pair_has_the_candidates_prediction(self, service: Service) -> None:
        rule = service.apply_rule_with_candidate(**SHADOW)
        result = classify_and_settle(service)
        assert result.prediction.version == "v1"
        (exposure,), (pair,) = service.exposures(), service.pairs()
        assert (pair.writer, pair.sequence) == (exposure.writer, exposure.sequence)
        assert (pair.rule_id, pair.candidate) == (rule.rule_id, "v2")
        assert (pair.outcome, pair.error, pair.probability) == ("copied", None, 1.0)
        probabilities = expected_probabilities("v2", KOALA)[0]
        assert (pair.label, pair.model_ms) == ("koala", 1.5)
        assert pair.confidence == pytest.approx(float(probabilities.max()), abs=1e-6)
        assert pair.latency_ms is not None
        assert 0 < pair.latency_ms < 60_000
        assert pair.at_ms >= exposure.at_ms

    def test_a_pair_has_the_fields_of_the_exposure(self, service: Service) -> None:
        """Reports need no join with the exposures."""
        service.apply_rule_with_candidate(**SHADOW)
        classify_and_settle(service, CAT, KOALA, context=Context("r-1", region="AU"))
        exposures, pairs = service.exposures(), service.pairs()
        assert [live_fields_of_pair(pair) for pair in pairs] == [
            live_fields_of_exposure(exposure) for exposure in exposures
        ]
        assert [(pair.region, pair.live_version) for pair in pairs] == [("AU", "v1")] * 2
        assert [pair.live_label for pair in pairs] != [pair.label for pair in pairs]

    @pytest.mark.parametrize(
        ("user", "session", "unit"), [("u", "s", "u"), (None, "s", "s"), (None, None, None)]
    )
    def test_the_unit_of_a_pair_is_the_user_or_else_the_session(
        self, service: Service, user: str | None, session: str | None, unit: str | None
    ) -> None:
        service.apply_rule_with_candidate(**SHADOW)
        classify_and_settle(service, context=Context("r-1", user, session))
        assert [pair.unit for pair in service.pairs()] == [unit]

    def test_images_of_one_request_are_copied_in_one_call(self, service: Service) -> None:
        service.apply_rule_with_candidate(**SHADOW)
        classify_and_settle(service, CAT, DOG, KOALA)
        assert [(call.pool, len(call.shape), call.shape[0]) for call in service.pools.calls] == [
            (Pool.STABLE, 4, 3),
            (Pool.CANDIDATE, 4, 3),
        ]
        exposures, pairs = service.exposures(), service.pairs()
        assert [pair.sequence for pair in pairs] == [e.sequence for e in exposures] == [1, 2, 3]
        assert [pair.label for pair in pairs] == ["cat", "dog", "koala"]

    def test_copies_have_the_candidates_input_size(self, service: Service) -> None:
        service.pools.input_sides["v2"] = 56
        service.apply_rule_with_candidate(**SHADOW)
        for _ in range(2):
            classify_and_settle(service)
        assert [(call.pool, call.shape[1]) for call in service.pools.calls] == [
            (Pool.STABLE, 112),
            (Pool.CANDIDATE, 112),  # the input size is not known yet
            (Pool.CANDIDATE, 56),
            (Pool.STABLE, 112),
            (Pool.CANDIDATE, 56),
        ]
        assert outcomes(service) == [("copied", None)] * 2

    @pytest.mark.parametrize("rule", [SINGLE, PARALLEL], ids=["single", "canary"])
    def test_only_a_shadow_copies_requests(self, service: Service, rule: dict[str, Any]) -> None:
        service.pools.assigned[Pool.CANDIDATE] = "v2"
        service.apply_rule(**rule)
        classify_and_settle(service)
        assert len(service.pools.calls) == 1
        assert service.pairs() == []

    def test_a_pinned_request_is_not_copied(self, service: Service) -> None:
        """The pinned candidate would agree with itself."""
        service.apply_rule_with_candidate(**SHADOW, allow_pin=True)

        async def classify_pinned() -> None:
            await classify(service, context=Context("r-1", pin="v2"))
            await settle(service)

        service.run(classify_pinned())
        assert outcomes(service) == []

    def test_a_copy_keeps_the_rule_of_its_request(self, service: Service) -> None:
        rule = service.apply_rule_with_candidate(**SHADOW)
        gate = asyncio.Event()
        service.pools.overrides["v2"] = gate

        async def change_rule() -> None:
            await classify(service)
            service.apply_rule(**PARALLEL)
            gate.set()
            await settle(service)

        service.run(change_rule())
        assert [(p.rule_id, p.outcome) for p in service.pairs()] == [(rule.rule_id, "copied")]


class TestFailures:
    @pytest.mark.parametrize(
        ("override", "code"),
        CANDIDATE_FAILURES,
        ids=[type(override).__name__ for override, _ in CANDIDATE_FAILURES],
    )
    def test_a_failed_copy_has_an_error_code_and_does_not_affect_the_response(
        self, service: Service, override: Any, code: str
    ) -> None:
        service.apply_rule_with_candidate(**SHADOW)
        service.pools.overrides["v2"] = override
        result = classify_and_settle(service)
        assert np.array_equal(result.prediction.probabilities, expected_probabilities("v1", KOALA))
        (exposure,), (pair,) = service.exposures(), service.pairs()
        assert (exposure.reason, exposure.served, exposure.error) == ("static", "v1", None)
        assert (pair.outcome, pair.error, pair.label, pair.confidence, pair.model_ms) == (
            "failed",
            code,
            None,
            None,
            None,
        )
        assert pair.latency_ms is not None

    def test_a_copy_times_out_after_the_timeout_of_the_rule(self, service: Service) -> None:
        service.apply_rule_with_candidate(**SHADOW, timeout_s=7.5)
        service.pools.overrides["v2"] = asyncio.Event()

        async def measure() -> tuple[float, float]:
            loop = asyncio.get_running_loop()
            start_s = loop.time()
            await classify(service)
            response_s = loop.time()
            await settle(service)
            return response_s - start_s, loop.time() - start_s

        to_response_s, to_outcome_s = service.run(measure())
        assert to_response_s == 0
        assert to_outcome_s == pytest.approx(7.5, abs=0.1)
        assert outcomes(service) == [("failed", "too_slow")]

    @pytest.mark.parametrize("failure", [Busy("full"), TooSlow("15 s"), RuntimeError("unexpected")])
    def test_a_request_that_stable_failed_is_copied(
        self, service: Service, failure: Exception
    ) -> None:
        """The shadow also shows how the candidate handles requests that fail today."""
        service.apply_rule_with_candidate(**SHADOW)
        service.pools.overrides["v1"] = failure

        async def send() -> None:
            with pytest.raises(type(failure)):
                await classify(service, CAT, KOALA)
            await settle(service)

        service.run(send())
        exposures, pairs = service.exposures(), service.pairs()
        assert [e.served for e in exposures] == [None, None]
        assert [(p.sequence, p.outcome, p.label) for p in pairs] == [
            (exposures[0].sequence, "copied", "cat"),
            (exposures[1].sequence, "copied", "koala"),
        ]

    def test_a_request_with_a_disconnect_is_copied_and_its_copy_finishes(
        self, service: Service
    ) -> None:
        """Otherwise slow requests, which users abandon, would be missing in the comparison."""
        service.apply_rule_with_candidate(**SHADOW)
        gate = asyncio.Event()
        service.pools.overrides |= {"v1": asyncio.Event(), "v2": gate}

        async def disconnect() -> None:
            request = asyncio.create_task(classify(service))
            await wait_until(lambda: len(service.pools.calls) == 1)
            request.cancel()
            await asyncio.wait([request])
            await wait_until(lambda: len(service.pools.calls) == 2)
            gate.set()
            await settle(service)

        service.run(disconnect())
        assert [e.error for e in service.exposures()] == ["client_gone"]
        assert outcomes(service) == [("copied", None)]

    def test_a_copy_runs_in_an_empty_context(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Serve cancels what runs in the context of a request when its client disconnects."""
        service.apply_rule_with_candidate(**SHADOW)
        owners: dict[Pool, str] = {}
        classify_in_pool = service.pools.classify

        async def classify_and_record_owner(
            pool: Pool, version: str | None, pixels: Pixels
        ) -> PoolResponse:
            owners[pool] = CONTEXT_OWNER.get()
            return await classify_in_pool(pool, version, pixels)

        monkeypatch.setattr(service.pools, "classify", classify_and_record_owner)

        async def send() -> None:
            CONTEXT_OWNER.set("request")
            await classify(service)
            await settle(service)

        service.run(send())
        assert owners == {Pool.STABLE: "request", Pool.CANDIDATE: "none"}

    def test_copies_to_an_absent_candidate_are_shed(self, service: Service) -> None:
        service.apply_rule(**SHADOW)
        classify_and_settle(service, CAT, DOG)
        assert [call.pool for call in service.pools.calls] == [Pool.STABLE]
        assert outcomes(service) == [("shed", "not_ready")] * 2
        assert [pair.latency_ms for pair in service.pairs()] == [None, None]


class TestLimits:
    def test_requests_do_not_wait_for_copies_and_copies_above_the_limit_are_shed(
        self, service: Service
    ) -> None:
        service.apply_rule_with_candidate(**SHADOW, max_in_flight=4)
        gate = asyncio.Event()
        service.pools.overrides["v2"] = gate

        async def send_requests() -> None:
            for _ in range(10):
                assert (await classify(service)).prediction.version == "v1"
            assert service.plane.mirror.in_flight == 4
            gate.set()
            await settle(service)
            await classify(service)
            await settle(service)

        service.run(send_requests())
        counts = Counter(outcomes(service))
        assert counts == {("copied", None): 5, ("shed", "full"): 6}
        assert service.plane.mirror.outcome_counts == {"copied": 5, "shed": 6, "failed": 0}

    def test_the_limit_counts_images_and_a_request_is_not_split(self, service: Service) -> None:
        service.apply_rule_with_candidate(**SHADOW, max_in_flight=4)
        gate = asyncio.Event()
        service.pools.overrides["v2"] = gate

        async def send_requests() -> None:
            await classify(service, CAT, DOG, KOALA)
            await classify(service, CAT, DOG)
            await classify(service, KOALA)
            gate.set()
            await settle(service)

        service.run(send_requests())
        by_sequence = {pair.sequence: (pair.outcome, pair.error) for pair in service.pairs()}
        assert [by_sequence[n] for n in range(1, 7)] == [
            *[("copied", None)] * 3,
            *[("shed", "full")] * 2,
            ("copied", None),
        ]

    def test_a_request_above_the_limit_is_copied_when_none_is_in_flight(
        self, service: Service
    ) -> None:
        """Otherwise such requests would never be copied, even to an idle candidate."""
        service.apply_rule_with_candidate(**SHADOW, max_in_flight=2)
        gate = asyncio.Event()
        service.pools.overrides["v2"] = gate

        async def send_requests() -> None:
            await classify(service, CAT, DOG, KOALA)
            assert service.plane.mirror.in_flight == 3
            await classify(service, CAT)
            await classify(service, CAT, DOG, KOALA)
            assert service.plane.mirror.in_flight == 3
            gate.set()
            await settle(service)
            await classify(service, KOALA, KOALA, KOALA)
            await settle(service)

        service.run(send_requests())
        by_sequence = {pair.sequence: (pair.outcome, pair.error) for pair in service.pairs()}
        copied, full = ("copied", None), ("shed", "full")
        assert [by_sequence[n] for n in range(1, 11)] == [*[copied] * 3, *[full] * 4, *[copied] * 3]

    @pytest.mark.parametrize("override", [TooSlow("15 s"), Busy("full")])
    def test_a_lagging_candidate_halves_the_share(
        self, service: Service, override: Exception
    ) -> None:
        service.apply_rule_with_candidate(**SHADOW)
        service.pools.overrides["v2"] = override
        classify_and_settle(service)
        service.plane.mirror.governor.tick()
        assert service.plane.mirror.governor.share == 0.5

    def test_a_full_candidate_counts_as_lagging_and_a_crashing_one_does_not(
        self, service: Service
    ) -> None:
        """A crash does not slow live requests, and the shadow must keep finding crashes."""
        service.apply_rule_with_candidate(**SHADOW, max_in_flight=1)
        service.pools.overrides["v2"] = Problem("it crashed")
        classify_and_settle(service)
        governor = service.plane.mirror.governor
        governor.tick()
        assert governor.share == 1
        service.pools.overrides["v2"] = gate = asyncio.Event()

        async def send_requests() -> None:
            await classify(service, CAT, DOG)
            governor.tick()
            assert governor.share == 1
            await classify(service, CAT)
            gate.set()
            await settle(service)

        service.run(send_requests())
        governor.tick()
        assert governor.share == 0.5

    def test_the_governor_gets_the_latency_of_each_live_request(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        service.apply_rule_with_candidate(**SHADOW)
        recorded_ms: list[float] = []
        monkeypatch.setattr(service.plane.mirror.governor, "record_latency", recorded_ms.append)
        latencies_ms = [classify_and_settle(service).latency_ms for _ in range(3)]
        assert recorded_ms == latencies_ms

    def test_the_governor_ticks_every_second(self, service: Service) -> None:
        service.apply_rule_with_candidate(**SHADOW)
        governor = service.plane.mirror.governor

        async def run_governor() -> list[float]:
            task = asyncio.create_task(service.plane.mirror.run())
            shares = []
            for _ in range(3):
                governor.record_lag()
                await asyncio.sleep(1.01)
                shares.append(governor.share)
            task.cancel()
            return shares

        assert service.run(run_governor()) == [0.5, 0.25, 0.125]


class TestSample:
    @pytest.mark.parametrize(
        ("draw", "share", "outcome"),
        [
            (0.0, 1.0, ("copied", None)),
            (0.39, 1.0, ("copied", None)),
            (0.4, 1.0, None),
            (0.99, 0.5, None),
            (0.19, 0.5, ("copied", None)),
            (0.2, 0.5, ("shed", "governed")),
            (0.39, 0.01, ("shed", "governed")),
        ],
    )
    def test_unsampled_requests_leave_no_pair_and_governed_ones_are_shed(
        self,
        service: Service,
        monkeypatch: pytest.MonkeyPatch,
        draw: float,
        share: float,
        outcome: tuple[str, str | None] | None,
    ) -> None:
        service.apply_rule_with_candidate(**SHADOW, sample=0.4)
        service.plane.mirror.governor.share = share
        monkeypatch.setattr(mirror, "random", FixedRandom(draw))
        classify_and_settle(service, CAT, DOG)
        assert outcomes(service) == ([outcome] * 2 if outcome else [])
        assert {pair.probability for pair in service.pairs()} <= {0.4 * share}
        assert service.plane.mirror.outcome_counts.total() == (2 if outcome else 0)

    def test_the_copied_share_of_requests_is_the_sample(self, service: Service) -> None:
        """The count of 300 requests is in the 99.99 % interval of the binomial distribution."""
        service.apply_rule_with_candidate(**SHADOW, sample=0.25)

        async def send() -> None:
            for _ in range(300):
                await classify(service)
                await settle(service)

        service.run(send())
        low, high = stats.binom.interval(0.9999, 300, 0.25)
        pairs = service.pairs()
        assert low <= len(pairs) <= high
        assert {(pair.outcome, pair.probability) for pair in pairs} == {("copied", 0.25)}


class TestClosing:
    def test_copies_in_flight_at_close_count_as_failed(self, service: Service) -> None:
        service.apply_rule_with_candidate(**SHADOW)
        service.pools.overrides["v2"] = asyncio.Event()

        async def classify_and_close() -> None:
            await classify(service, CAT, DOG)
            await wait_until(lambda: len(service.pools.calls) == 2)
            await service.plane.mirror.close()

        service.run(classify_and_close())
        assert outcomes(service) == [("failed", "stopped")] * 2
        assert service.plane.mirror.outcome_counts == {"copied": 0, "shed": 0, "failed": 2}
        assert service.plane.mirror.in_flight == 0

    def test_copies_that_have_not_started_at_close_count_as_failed(self, service: Service) -> None:
        service.apply_rule_with_candidate(**SHADOW)

        async def classify_and_close() -> None:
            await classify(service)  # the task of its copy has not started
            await service.plane.mirror.close()

        service.run(classify_and_close())
        assert len(outcomes(service)) == 1
        assert service.plane.mirror.outcome_counts.total() == 1
        assert service.plane.mirror.in_flight == 0

    def test_background_tasks_stop_with_the_data_plane(self, service: Service) -> None:
        service.pools.assigned[Pool.CANDIDATE] = "v2"
        service.apply_rule(**SHADOW)
        service.pools.overrides["v2"] = asyncio.Event()

        async def run_data_plane() -> None:
            before = len(asyncio.all_tasks())
            async with service.plane.background_tasks():
                await wait_until(lambda: service.plane.breaker.is_closed)
                await classify(service)
            await service.recorder.close(1)
            await wait_until(lambda: len(asyncio.all_tasks()) == before)

        service.run(run_data_plane())
        assert outcomes(service) == [("failed", "stopped")]


STEPS = st.one_of(
    st.integers(1, 5),  # a request of n images
    st.sampled_from(
        ["working", "slow", "crashing", "busy", "unreachable", "stopped", "finish", "tick", "wait"]
    ),
)


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=25))
def test_every_image_leaves_exactly_one_pair_under_any_load(steps: list[int | str]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Service(Path(folder), loop=VirtualTimeLoop) as service,
    ):
        service.apply_rule_with_candidate(**SHADOW, max_in_flight=4)
        gate = asyncio.Event()
        overrides: dict[str, Any] = {
            "slow": gate,
            "crashing": RuntimeError("unexpected"),
            "busy": Busy("full"),
            "unreachable": NotReady("no replica"),
        }

        async def play() -> int:
            images = 0
            for step in steps:
                if isinstance(step, int):
                    result = await classify(service, *[KOALA] * step)
                    assert result.prediction.version == "v1"
                    assert result.plan.reason == "static"
                    images += step
                elif step in overrides:
                    service.pools.overrides["v2"] = overrides[step]
                elif step == "working":
                    service.pools.overrides.clear()
                    service.pools.assigned[Pool.CANDIDATE] = "v2"
                elif step == "stopped":
                    service.pools.overrides.clear()
                    service.pools.assigned.pop(Pool.CANDIDATE, None)
                elif step == "finish":
                    gate.set()
                elif step == "tick":
                    service.plane.mirror.governor.tick()
                else:
                    await asyncio.sleep(1)
                assert service.plane.mirror.in_flight <= 5, "4, or one larger request"
            await service.plane.mirror.close()
            return images

        images = service.run(play())
        exposures, pairs = service.exposures(), service.pairs()
        assert sorted(pair.sequence for pair in pairs) == list(range(1, images + 1))
        assert {(p.writer, p.rule_id) for p in pairs} <= {(e.writer, e.rule_id) for e in exposures}
        assert service.plane.mirror.outcome_counts == {
            "copied": 0,
            "failed": 0,
            "shed": 0,
        } | Counter(pair.outcome for pair in pairs)
        assert all(_is_consistent(pair) for pair in pairs)
        live = {exposure.sequence: live_fields_of_exposure(exposure) for exposure in exposures}
        assert all(live_fields_of_pair(pair) == live[pair.sequence] for pair in pairs)


def _is_consistent(pair: ShadowPair) -> bool:
    prediction = (pair.label, pair.confidence, pair.model_ms)
    match pair.outcome:
        case "copied":
            return None not in prediction and pair.error is None and pair.latency_ms is not None
        case "failed":
            return prediction == (None,) * 3 and bool(pair.error) and pair.latency_ms is not None
        case _:
            return prediction == (None,) * 3 and bool(pair.error) and pair.latency_ms is None
