"""Every image of the sample leaves exactly one pair, and no answer is another for it."""

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
from serve_app.data_plane.pools import PoolResponse, Prediction, Unavailable, WrongInputSize
from serve_app.domain import Context, Exposure, Pool, ShadowPair
from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.trace import Trace
from tests.unit.recording.fakes import JumpingLoop, until
from tests.unit.service import PARALLEL, SHADOW, SINGLE, Service, expected, image

CAT, DOG, KOALA = image("cat"), image("dog"), image("koala")
ANYBODY = Context("r-1")
WHOSE: ContextVar[str] = ContextVar("WHOSE", default="nobody's")
OTHER_VERSION = Prediction("v1", ("cat", "dog"), np.array([[0.5, 0.5]], np.float32), 1.0)


async def classify(service: Service, *images: bytes, context: Context = ANYBODY) -> ClassifyResult:
    return await service.plane.classify(
        [EncodedImage(data) for data in images or (KOALA,)],
        context,
        Trace("r-1", "POST", "/v1/classify"),
        started=0,
    )


async def settle(service: Service) -> None:
    await until(lambda: service.plane.mirror.in_flight == 0)


def ask(service: Service, *images: bytes, context: Context = ANYBODY) -> ClassifyResult:
    """One request, whose copy has its outcome."""

    async def asked() -> ClassifyResult:
        prediction = await classify(service, *images, context=context)
        await settle(service)
        return prediction

    return service.run(asked())


def outcomes(service: Service) -> list[tuple[str, str | None]]:
    return [(pair.outcome, pair.error) for pair in service.pairs()]


def seen(exposure: Exposure) -> tuple[object, ...]:
    """What an exposure says of the answer."""
    said = (exposure.region, exposure.served, exposure.label)
    return (*said, exposure.model_ms, exposure.latency_ms)


def live_of(pair: ShadowPair) -> tuple[object, ...]:
    """What a pair says of the live answer."""
    said = (pair.region, pair.live_version, pair.live_label)
    return (*said, pair.live_model_ms, pair.live_latency_ms)


class Drawn:
    """Draws the same number each time."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


class TestCopies:
    def test_a_copy_tells_what_the_candidate_said_of_the_same_image(self, service: Service) -> None:
        rule = service.try_out(**SHADOW)
        prediction = ask(service)
        assert prediction.answer.version == "v1"
        (exposure,), (pair,) = service.exposures(), service.pairs()
        assert (pair.writer, pair.sequence) == (exposure.writer, exposure.sequence)
        assert (pair.rule_id, pair.candidate) == (rule.rule_id, "v2")
        assert (pair.outcome, pair.error, pair.probability) == ("copied", None, 1.0)
        said = expected("v2", KOALA)[0]
        assert (pair.label, pair.model_ms) == ("koala", 1.5)
        assert pair.confidence == pytest.approx(float(said.max()), abs=1e-6)
        assert pair.latency_ms is not None
        assert 0 < pair.latency_ms < 60_000
        assert pair.at_ms >= exposure.at_ms

    def test_a_pair_tells_what_the_live_answer_was(self, service: Service) -> None:
        """A report needs no second look at the exposure."""
        service.try_out(**SHADOW)
        ask(service, CAT, KOALA, context=Context("r-1", region="AU"))
        exposures, pairs = service.exposures(), service.pairs()
        assert [live_of(pair) for pair in pairs] == [seen(exposure) for exposure in exposures]
        assert [(pair.region, pair.live_version) for pair in pairs] == [("AU", "v1")] * 2
        assert [pair.live_label for pair in pairs] != [pair.label for pair in pairs]

    @pytest.mark.parametrize(
        ("user", "session", "unit"), [("u", "s", "u"), (None, "s", "s"), (None, None, None)]
    )
    def test_a_pair_tells_who_sent_it(
        self, service: Service, user: str | None, session: str | None, unit: str | None
    ) -> None:
        service.try_out(**SHADOW)
        ask(service, context=Context("r-1", user, session))
        assert [pair.unit for pair in service.pairs()] == [unit]

    def test_images_of_one_request_are_copied_together_and_told_apart(
        self, service: Service
    ) -> None:
        service.try_out(**SHADOW)
        ask(service, CAT, DOG, KOALA)
        assert [(call.pool, len(call.shape), call.shape[0]) for call in service.pools.calls] == [
            (Pool.STABLE, 4, 3),
            (Pool.CANDIDATE, 4, 3),
        ]
        exposures, pairs = service.exposures(), service.pairs()
        assert [pair.sequence for pair in pairs] == [e.sequence for e in exposures] == [1, 2, 3]
        assert [pair.label for pair in pairs] == ["cat", "dog", "koala"]

    def test_versions_may_take_images_of_different_sizes(self, service: Service) -> None:
        service.pools.sides["v2"] = 56
        service.try_out(**SHADOW)
        for _ in range(2):
            ask(service)
        assert [(call.pool, call.shape[1]) for call in service.pools.calls] == [
            (Pool.STABLE, 112),
            (Pool.CANDIDATE, 112),  # its size is not known yet
            (Pool.CANDIDATE, 56),
            (Pool.STABLE, 112),
            (Pool.CANDIDATE, 56),
        ]
        assert outcomes(service) == [("copied", None)] * 2

    @pytest.mark.parametrize("rule", [SINGLE, PARALLEL], ids=["single", "canary"])
    def test_only_a_shadow_copies(self, service: Service, rule: dict[str, Any]) -> None:
        service.pools.assigned[Pool.CANDIDATE] = "v2"
        service.apply_rule(**rule)
        ask(service)
        assert len(service.pools.calls) == 1
        assert service.pairs() == []

    def test_what_a_pin_answers_is_not_copied(self, service: Service) -> None:
        """The candidate would agree with itself."""
        service.try_out(**SHADOW, allow_pin=True)

        async def pinned() -> None:
            await classify(service, context=Context("r-1", pin="v2"))
            await settle(service)

        service.run(pinned())
        assert outcomes(service) == []

    def test_a_copy_keeps_the_rule_under_which_its_request_began(self, service: Service) -> None:
        rule = service.try_out(**SHADOW)
        gate = asyncio.Event()
        service.pools.fates["v2"] = gate

        async def changed() -> None:
            await classify(service)
            service.apply_rule(**PARALLEL)
            gate.set()
            await settle(service)

        service.run(changed())
        assert [(p.rule_id, p.outcome) for p in service.pairs()] == [(rule.rule_id, "copied")]


FAILURES: list[tuple[Any, str]] = [
    (NotReady("gone"), "not_ready"),
    (TooSlow("15 s"), "too_slow"),
    (TimeoutError(), "too_slow"),
    (Busy("full"), "busy"),
    (Problem("it crashed"), "internal"),
    (RuntimeError("nobody knows this one"), "internal"),
    (Unavailable("v2 cannot be loaded"), "not_ready"),
    (WrongInputSize("v2", 32), "not_ready"),
    (OTHER_VERSION, "not_ready"),
]


class TestFailures:
    @pytest.mark.parametrize(
        ("fate", "code"), FAILURES, ids=[type(fate).__name__ for fate, _ in FAILURES]
    )
    def test_a_candidate_that_fails_is_told_with_its_code_and_changes_no_answer(
        self, service: Service, fate: Any, code: str
    ) -> None:
        service.try_out(**SHADOW)
        service.pools.fates["v2"] = fate
        prediction = ask(service)
        assert np.array_equal(prediction.answer.probabilities, expected("v1", KOALA))
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

    def test_a_candidate_that_hangs_is_given_up_after_the_rules_time(
        self, service: Service
    ) -> None:
        service.try_out(**SHADOW, timeout_s=7.5)
        service.pools.fates["v2"] = asyncio.Event()

        async def timed() -> tuple[float, float]:
            loop = asyncio.get_running_loop()
            began = loop.time()
            await classify(service)
            answered = loop.time()
            await settle(service)
            return answered - began, loop.time() - began

        to_answer, to_outcome = service.run(timed())
        assert to_answer == 0
        assert to_outcome == pytest.approx(7.5, abs=0.1)
        assert outcomes(service) == [("failed", "too_slow")]

    def test_three_copies_too_late_in_a_row_spare_the_candidate_the_next(
        self, service: Service
    ) -> None:
        service.try_out(**SHADOW)
        service.pools.fates["v2"] = TooSlow("15 s")
        service.pools.hidden = {"v2"}
        for _ in range(5):
            ask(service)
        assert outcomes(service) == [("failed", "too_slow")] * 3 + [("shed", "not_ready")] * 2

    def test_copies_too_late_with_good_ones_between_spare_it_nothing(
        self, service: Service
    ) -> None:
        service.try_out(**SHADOW)
        service.pools.hidden = {"v2"}  # were it down, it would stay so
        for _ in range(4):
            service.pools.fates["v2"] = TooSlow("15 s")
            ask(service)
            ask(service)
            service.pools.fates.clear()
            ask(service)
        late, good = ("failed", "too_slow"), ("copied", None)
        assert outcomes(service) == [late, late, good] * 4

    def test_a_candidate_that_cannot_be_reached_is_asked_once(self, service: Service) -> None:
        service.try_out(**SHADOW)
        service.pools.fates["v2"] = NotReady("gone")
        service.pools.hidden = {"v2"}
        for _ in range(3):
            ask(service)
        assert outcomes(service) == [("failed", "not_ready")] + [("shed", "not_ready")] * 2

    @pytest.mark.parametrize("failure", [Busy("full"), TooSlow("15 s"), RuntimeError("?")])
    def test_a_request_that_stable_failed_is_copied_too(
        self, service: Service, failure: Exception
    ) -> None:
        """What the candidate would have done with it is what a shadow is for."""
        service.try_out(**SHADOW)
        service.pools.fates["v1"] = failure

        async def asked() -> None:
            with pytest.raises(type(failure)):
                await classify(service, CAT, KOALA)
            await settle(service)

        service.run(asked())
        exposures, pairs = service.exposures(), service.pairs()
        assert [e.served for e in exposures] == [None, None]
        assert [(p.sequence, p.outcome, p.label) for p in pairs] == [
            (exposures[0].sequence, "copied", "cat"),
            (exposures[1].sequence, "copied", "koala"),
        ]

    def test_a_request_whose_client_hung_up_is_copied_and_its_copy_finishes(
        self, service: Service
    ) -> None:
        """Else a version that makes users give up would be compared on the patient ones only."""
        service.try_out(**SHADOW)
        gate = asyncio.Event()
        service.pools.fates |= {"v1": asyncio.Event(), "v2": gate}

        async def hang_up() -> None:
            request = asyncio.create_task(classify(service))
            await until(lambda: len(service.pools.calls) == 1)
            request.cancel()
            await asyncio.wait([request])
            await until(lambda: len(service.pools.calls) == 2)
            gate.set()
            await settle(service)

        service.run(hang_up())
        assert [e.error for e in service.exposures()] == ["client_gone"]
        assert outcomes(service) == [("copied", None)]

    def test_a_copy_runs_in_a_context_of_its_own(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Serve finds in the context what a request started, and cancels it at a hang-up."""
        service.try_out(**SHADOW)
        seen: dict[Pool, str] = {}
        classify_in_pool = service.pools.classify

        async def noting(pool: Pool, version: str | None, pixels: Pixels) -> PoolResponse:
            seen[pool] = WHOSE.get()
            return await classify_in_pool(pool, version, pixels)

        monkeypatch.setattr(service.pools, "classify", noting)

        async def asked() -> None:
            WHOSE.set("the request's")
            await classify(service)
            await settle(service)

        service.run(asked())
        assert seen == {Pool.STABLE: "the request's", Pool.CANDIDATE: "nobody's"}

    def test_an_absent_candidate_is_not_asked(self, service: Service) -> None:
        service.apply_rule(**SHADOW)
        ask(service, CAT, DOG)
        assert [call.pool for call in service.pools.calls] == [Pool.STABLE]
        assert outcomes(service) == [("shed", "not_ready")] * 2
        assert [pair.latency_ms for pair in service.pairs()] == [None, None]


class TestLimits:
    def test_no_answer_waits_for_a_copy_and_what_exceeds_the_limit_is_shed(
        self, service: Service
    ) -> None:
        service.try_out(**SHADOW, max_in_flight=4)
        gate = asyncio.Event()
        service.pools.fates["v2"] = gate

        async def crowd() -> None:
            for _ in range(10):
                assert (await classify(service)).answer.version == "v1"
            assert service.plane.mirror.in_flight == 4
            gate.set()
            await settle(service)
            await classify(service)
            await settle(service)

        service.run(crowd())
        found = Counter(outcomes(service))
        assert found == {("copied", None): 5, ("shed", "full"): 6}
        assert service.plane.mirror.outcome_counts == {"copied": 5, "shed": 6, "failed": 0}

    def test_the_limit_is_of_images_and_a_request_is_copied_whole_or_not_at_all(
        self, service: Service
    ) -> None:
        service.try_out(**SHADOW, max_in_flight=4)
        gate = asyncio.Event()
        service.pools.fates["v2"] = gate

        async def crowd() -> None:
            await classify(service, CAT, DOG, KOALA)
            await classify(service, CAT, DOG)
            await classify(service, KOALA)
            gate.set()
            await settle(service)

        service.run(crowd())
        found = {pair.sequence: (pair.outcome, pair.error) for pair in service.pairs()}
        assert [found[n] for n in range(1, 7)] == [
            *[("copied", None)] * 3,
            *[("shed", "full")] * 2,
            ("copied", None),
        ]

    def test_a_request_larger_than_the_limit_is_copied_when_the_candidate_owes_none(
        self, service: Service
    ) -> None:
        """Else such requests would never be compared, however idle the candidate is."""
        service.try_out(**SHADOW, max_in_flight=2)
        gate = asyncio.Event()
        service.pools.fates["v2"] = gate

        async def crowd() -> None:
            await classify(service, CAT, DOG, KOALA)
            assert service.plane.mirror.in_flight == 3
            await classify(service, CAT)
            await classify(service, CAT, DOG, KOALA)
            assert service.plane.mirror.in_flight == 3
            gate.set()
            await settle(service)
            await classify(service, KOALA, KOALA, KOALA)
            await settle(service)

        service.run(crowd())
        found = {pair.sequence: (pair.outcome, pair.error) for pair in service.pairs()}
        copied, full = ("copied", None), ("shed", "full")
        assert [found[n] for n in range(1, 11)] == [*[copied] * 3, *[full] * 4, *[copied] * 3]

    @pytest.mark.parametrize("fate", [TooSlow("15 s"), Busy("full")])
    def test_a_candidate_that_lags_is_copied_to_less(
        self, service: Service, fate: Exception
    ) -> None:
        service.try_out(**SHADOW)
        service.pools.fates["v2"] = fate
        ask(service)
        service.plane.mirror.governor.tick()
        assert service.plane.mirror.governor.share == 0.5

    def test_a_full_candidate_lags_and_a_crashing_one_does_not(self, service: Service) -> None:
        """Its crash costs the live answers nothing, and is what the shadow is to find."""
        service.try_out(**SHADOW, max_in_flight=1)
        service.pools.fates["v2"] = Problem("it crashed")
        ask(service)
        governor = service.plane.mirror.governor
        governor.tick()
        assert governor.share == 1
        service.pools.fates["v2"] = gate = asyncio.Event()

        async def crowd() -> None:
            await classify(service, CAT, DOG)
            governor.tick()
            assert governor.share == 1
            await classify(service, CAT)
            gate.set()
            await settle(service)

        service.run(crowd())
        governor.tick()
        assert governor.share == 0.5

    def test_the_governor_hears_how_long_each_live_answer_took(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        service.try_out(**SHADOW)
        heard: list[float] = []
        monkeypatch.setattr(service.plane.mirror.governor, "record_latency", heard.append)
        took = [ask(service).latency_ms for _ in range(3)]
        assert heard == took

    def test_the_governor_ticks_each_second(self, service: Service) -> None:
        service.try_out(**SHADOW)
        governor = service.plane.mirror.governor

        async def governed() -> list[float]:
            task = asyncio.create_task(service.plane.mirror.run())
            shares = []
            for _ in range(3):
                governor.record_lag()
                await asyncio.sleep(1.01)
                shares.append(governor.share)
            task.cancel()
            return shares

        assert service.run(governed()) == [0.5, 0.25, 0.125]


class TestSample:
    @pytest.mark.parametrize(
        ("drawn", "share", "outcome"),
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
    def test_what_is_not_drawn_leaves_no_pair_and_what_is_governed_away_is_shed(
        self,
        service: Service,
        monkeypatch: pytest.MonkeyPatch,
        drawn: float,
        share: float,
        outcome: tuple[str, str | None] | None,
    ) -> None:
        service.try_out(**SHADOW, sample=0.4)
        service.plane.mirror.governor.share = share
        monkeypatch.setattr(mirror, "random", Drawn(drawn))
        ask(service, CAT, DOG)
        assert outcomes(service) == ([outcome] * 2 if outcome else [])
        assert {pair.probability for pair in service.pairs()} <= {0.4 * share}
        assert service.plane.mirror.outcome_counts.total() == (2 if outcome else 0)

    def test_the_share_that_is_copied_is_the_sample(self, service: Service) -> None:
        """300 requests, the 99.99 % interval of the binomial."""
        service.try_out(**SHADOW, sample=0.25)

        async def asked() -> None:
            for _ in range(300):
                await classify(service)
                await settle(service)

        service.run(asked())
        low, high = stats.binom.interval(0.9999, 300, 0.25)
        pairs = service.pairs()
        assert low <= len(pairs) <= high
        assert {(pair.outcome, pair.probability) for pair in pairs} == {("copied", 0.25)}


class TestClosing:
    def test_what_is_under_way_at_the_end_counts_as_failed(self, service: Service) -> None:
        service.try_out(**SHADOW)
        service.pools.fates["v2"] = asyncio.Event()

        async def closed() -> None:
            await classify(service, CAT, DOG)
            await until(lambda: len(service.pools.calls) == 2)
            await service.plane.mirror.close()

        service.run(closed())
        assert outcomes(service) == [("failed", "stopped")] * 2
        assert service.plane.mirror.outcome_counts == {"copied": 0, "shed": 0, "failed": 2}
        assert service.plane.mirror.in_flight == 0

    def test_so_does_what_had_not_begun(self, service: Service) -> None:
        service.try_out(**SHADOW)

        async def closed() -> None:
            await classify(service)  # its copy has had no turn yet
            await service.plane.mirror.close()

        service.run(closed())
        assert len(outcomes(service)) == 1
        assert service.plane.mirror.outcome_counts.total() == 1
        assert service.plane.mirror.in_flight == 0

    def test_the_end_of_the_data_plane_ends_its_copies_and_its_watch(
        self, service: Service
    ) -> None:
        service.pools.assigned[Pool.CANDIDATE] = "v2"
        service.apply_rule(**SHADOW)
        service.pools.fates["v2"] = asyncio.Event()

        async def lived() -> None:
            before = len(asyncio.all_tasks())
            async with service.plane.background_tasks():
                await until(lambda: service.plane.breaker.is_closed)
                await classify(service)
            await service.recorder.close(1)
            await until(lambda: len(asyncio.all_tasks()) == before)

        service.run(lived())
        assert outcomes(service) == [("failed", "stopped")]


STEPS = st.one_of(
    st.integers(1, 5),  # a request of so many images
    st.sampled_from(
        ["fine", "slow", "crashing", "busy", "not there", "gone", "open", "tick", "pass"]
    ),
)


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=25))
def test_every_image_leaves_exactly_one_pair_whatever_happens(steps: list[int | str]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Service(Path(folder), loop=JumpingLoop) as service,
    ):
        service.try_out(**SHADOW, max_in_flight=4)
        gate = asyncio.Event()
        fates: dict[str, Any] = {
            "slow": gate,
            "crashing": RuntimeError("?"),
            "busy": Busy("full"),
            "not there": NotReady("gone"),
        }

        async def play() -> int:
            images = 0
            for step in steps:
                if isinstance(step, int):
                    prediction = await classify(service, *[KOALA] * step)
                    assert prediction.answer.version == "v1"
                    assert prediction.plan.reason == "static"
                    images += step
                elif step in fates:
                    service.pools.fates["v2"] = fates[step]
                elif step == "fine":
                    service.pools.fates.clear()
                    service.pools.assigned[Pool.CANDIDATE] = "v2"
                elif step == "gone":
                    service.pools.fates.clear()
                    service.pools.assigned.pop(Pool.CANDIDATE, None)
                elif step == "open":
                    gate.set()
                elif step == "tick":
                    service.plane.mirror.governor.tick()
                else:
                    await asyncio.sleep(1)
                assert service.plane.mirror.in_flight <= 5, "4, or one request that is larger"
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
        answered = {exposure.sequence: seen(exposure) for exposure in exposures}
        assert all(live_of(pair) == answered[pair.sequence] for pair in pairs)


def _is_consistent(pair: ShadowPair) -> bool:
    answered = (pair.label, pair.confidence, pair.model_ms)
    match pair.outcome:
        case "copied":
            return None not in answered and pair.error is None and pair.latency_ms is not None
        case "failed":
            return answered == (None,) * 3 and bool(pair.error) and pair.latency_ms is not None
        case _:
            return answered == (None,) * 3 and bool(pair.error) and pair.latency_ms is None
