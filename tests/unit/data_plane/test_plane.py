from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from models.preprocess import Pixels
from serve_app.data_plane.images import EncodedImage
from serve_app.data_plane.plane import ClassifyResult, DataPlane
from serve_app.data_plane.pools import Prediction, Unavailable, WrongInputSize
from serve_app.errors import (
    BadConfig,
    NotReady,
    PinRejected,
    Problem,
    TooSlow,
    UnusableImage,
)
from serve_app.recording.records import Exposure
from serve_app.rules.plan import Context, Pool, Reason
from serve_app.trace import Trace
from tests.unit.service import Call, Service, expected_probabilities, image

CAT, DOG = image("cat"), image("dog")
STABLE_112 = Call(Pool.STABLE, None, (1, 112, 112, 3))


def classify(
    service: Service,
    images: Sequence[bytes] = (CAT,),
    trace: Trace | None = None,
    **context: str,
) -> ClassifyResult:
    return service.run(
        service.plane.classify(
            [EncodedImage(data) for data in images],
            Context("r-1", **context),  # type: ignore[arg-type]
            trace or Trace("r-1", "POST", "/v1/classify"),
            time.perf_counter(),
        )
    )


class TestPredictions:
    def test_the_prediction_is_that_of_the_version(self, service: Service) -> None:
        result = classify(service)
        assert (result.prediction.version, result.prediction.labels) == ("v1", ("cat", "dog"))
        assert np.array_equal(result.prediction.probabilities, expected_probabilities("v1", CAT))

    def test_images_of_one_request_are_classified_in_one_call_in_order(
        self, service: Service
    ) -> None:
        result = classify(service, [CAT, DOG, CAT])
        assert service.pools.calls == [Call(Pool.STABLE, None, (3, 112, 112, 3))]
        np.testing.assert_allclose(
            result.prediction.probabilities, expected_probabilities("v1", CAT, DOG, CAT), atol=1e-6
        )
        assert len(set(result.prediction_ids)) == 3

    def test_a_prediction_id_identifies_its_exposure(self, service: Service) -> None:
        (one,), (other,) = (classify(service).prediction_ids for _ in range(2))
        decoded = [service.id_codec.decode(prediction_id) for prediction_id in (one, other)]
        assert [(p.sequence, p.version, p.rule_id) for p in decoded] == [
            (1, "v1", service.plane.rule.rule_id),
            (2, "v1", service.plane.rule.rule_id),
        ]

    def test_the_trace_has_the_plan_and_the_result(self, service: Service) -> None:
        trace = Trace("r-1", "POST", "/v1/classify")
        classify(service, [CAT, DOG], trace, user="u" * 32, region="AU")
        assert (trace.rule, trace.rule_id) == ("single", service.plane.rule.rule_id)
        assert (trace.reason, trace.assigned, trace.served) == ("static", "v1", "v1")
        assert (trace.user, trace.region, trace.images) == ("u" * 32, "AU", 2)
        assert trace.model_ms == 1.5


class TestRequestsOfSeveralImages:
    def test_they_are_not_units(self, service: Service) -> None:
        """One draw assigns all images, so they are not independent."""
        service.apply_rule_with_candidate(
            kind="ab_test", control="v1", treatment="v2", weight=1, experiment="e"
        )
        classify(service, [CAT])
        classify(service, [CAT, DOG])
        assert [(e.assigned, e.reason) for e in service.exposures()] == [
            ("v2", "split"),
            ("v1", "no_unit"),
            ("v1", "no_unit"),
        ]


class TestExposures:
    def test_each_image_leaves_an_exposure(self, service: Service) -> None:
        before_ms = time.time_ns() // 1_000_000
        classify(service, [CAT, DOG], user="u" * 32, session="s" * 32, region="AU")
        one, other = service.exposures()
        assert one.confidence == pytest.approx(expected_probabilities("v1", CAT).max(), abs=1e-6)
        assert replace(one, at_ms=0, confidence=None, latency_ms=0) == Exposure(
            writer=service.recorder.writer,
            sequence=1,
            at_ms=0,
            request_id="r-1",
            rule_id=service.plane.rule.rule_id,
            rule="single",
            reason="static",
            assigned="v1",
            served="v1",
            user="u" * 32,
            session="s" * 32,
            region="AU",
            label="cat",
            confidence=None,
            latency_ms=0,
            model_ms=1.5,
            error=None,
        )
        assert (other.sequence, other.label) == (2, "dog")
        assert before_ms <= one.at_ms <= time.time_ns() // 1_000_000
        assert 0 < one.latency_ms < 60_000

    def test_a_failure_is_recorded_with_its_code_for_each_image(self, service: Service) -> None:
        service.pools.next_results.append(TooSlow("no answer in 15 s"))
        with pytest.raises(TooSlow):
            classify(service, [CAT, DOG])
        assert [
            (e.assigned, e.served, e.label, e.confidence, e.model_ms, e.error)
            for e in service.exposures()
        ] == [(None, None, None, None, None, "too_slow")] * 2

    def test_a_pinned_failure_counts_for_the_pinned_version(self, service: Service) -> None:
        """Otherwise a crashing version would look perfect."""
        service.apply_rule(allow_pin=True)
        service.pools.next_results.append(Unavailable("v2 cannot be loaded"))
        with pytest.raises(NotReady, match="v2 cannot be loaded"):
            classify(service, pin="v2")
        (exposure,) = service.exposures()
        assert (exposure.assigned, exposure.served, exposure.reason, exposure.error) == (
            "v2",
            None,
            "pinned",
            "not_ready",
        )

    def test_an_unexpected_error_is_recorded(self, service: Service) -> None:
        service.pools.next_results.append(RuntimeError("unexpected"))
        with pytest.raises(RuntimeError):
            classify(service)
        assert [e.error for e in service.exposures()] == ["internal"]

    def test_an_unusable_image_causes_no_exposure_and_no_call(self, service: Service) -> None:
        for images in ([CAT[:1000]], [CAT, b"no image"], [b""]):
            with pytest.raises(UnusableImage):
                classify(service, images)
        assert service.pools.calls == []
        assert service.exposures() == []

    def test_one_unusable_image_of_several_raises_its_code(self, service: Service) -> None:
        with pytest.raises(UnusableImage) as caught:
            classify(service, [CAT, b""])
        assert (caught.value.code, caught.value.status) == ("empty_image", 422)


class TestSizes:
    def test_images_are_resized_for_a_replica_with_another_input_size(
        self, service: Service
    ) -> None:
        """The replicas of a pool change their version one by one during an update."""
        prediction = Prediction("v2", ("cat", "dog"), np.array([[0.25, 0.75]], np.float32), 1.0)
        service.pools.next_results += [WrongInputSize("v2", 64), prediction]
        assert classify(service).prediction is prediction
        sides = [call.shape for call in service.pools.calls]
        assert sides == [(1, 112, 112, 3), (1, 64, 64, 3)]
        assert [call.version for call in service.pools.calls] == [None, "v2"]

    def test_the_input_size_is_remembered(self, service: Service) -> None:
        service.pools.next_results += [WrongInputSize("v2", 64), WrongInputSize("v2", 64)]
        with pytest.raises(NotReady):
            classify(service)
        classify(service)  # v1 takes 112 px
        sides = [call.shape[1] for call in service.pools.calls]
        assert sides == [112, 64, 64, 112]

    def test_another_size_is_retried_only_once(self, service: Service) -> None:
        service.pools.next_results += [
            WrongInputSize("v2", 64),
            WrongInputSize("v2", 112),
            WrongInputSize("v2", 64),
        ]
        with pytest.raises(NotReady, match="the versions of the pool are changing"):
            classify(service)
        assert len(service.pools.calls) == 2
        assert [e.error for e in service.exposures()] == ["not_ready"]


class TestPins:
    def test_an_allowed_pin_is_served_by_its_version(self, service: Service) -> None:
        service.apply_rule(allow_pin=True)
        result = classify(service, pin="v2")
        assert result.plan.reason is Reason.PINNED
        assert service.pools.calls == [Call(Pool.STABLE, "v2", (1, 112, 112, 3))]
        assert np.array_equal(result.prediction.probabilities, expected_probabilities("v2", CAT))

    def test_a_rejected_pin_causes_no_call_and_no_exposure(self, service: Service) -> None:
        with pytest.raises(PinRejected):
            classify(service, pin="v2")
        assert service.pools.calls == []
        assert service.exposures() == []


class TestRules:
    def test_without_a_rule_the_plane_is_not_ready(self, service: Service) -> None:
        plane = DataPlane(
            service.pools,
            service.recorder,
            service.pseudonymizer,
            service.id_codec,
            service.image_cipher,
            service.plane.versions,
        )
        assert not plane.has_rule
        with pytest.raises(NotReady, match=r"^no rule is in force: deploy a valid one$"):
            _ = plane.rule
        plane.reject(BadConfig("rule.stable", "is v9: the registry has v1, v2"))
        with pytest.raises(NotReady, match=r"the last one was rejected: rule\.stable is v9"):
            _ = plane.rule

    def test_a_rejected_rule_leaves_the_rule_in_force(self, service: Service) -> None:
        in_force = service.plane.rule
        service.plane.reject(BadConfig("rule.stable", "is v9: the registry has v1, v2"))
        assert service.plane.rule is in_force
        assert service.plane.rejection == {
            "path": "rule.stable",
            "message": "is v9: the registry has v1, v2",
        }
        assert classify(service).prediction.version == "v1"

    def test_an_accepted_rule_clears_the_rejection(self, service: Service) -> None:
        service.plane.reject(BadConfig("rule.stable", "is v9"))
        service.apply_rule(stable="v2")
        assert service.plane.rejection is None
        assert service.plane.rule.versions == {"stable": "v2"}

    def test_an_adoption_is_recorded_only_when_the_rule_changes(self, service: Service) -> None:
        service.apply_rule()
        service.apply_rule(stable="v2")
        changed = service.plane.rule
        service.apply_rule(stable="v2")
        classify(service)
        adoptions, (exposure,) = service.adoptions_and_exposures()
        assert [adoption.rule for adoption in adoptions[1:]] == [changed.canonical()]
        assert len(adoptions) == 2
        assert exposure.rule_id == adoptions[-1].rule_id == changed.rule_id

    def test_a_request_keeps_the_rule_it_started_with(self, service: Service) -> None:
        initial_rule = service.plane.rule

        class RuleChangingImage(EncodedImage):
            def pixels(self, side: int) -> Pixels:
                service.apply_rule(stable="v2")
                return super().pixels(side)

        trace = Trace("r-1", "POST", "/v1/classify")
        result = service.run(
            service.plane.classify(
                [RuleChangingImage(CAT)], Context("r-1"), trace, time.perf_counter()
            )
        )
        assert service.plane.rule is not initial_rule
        assert result.rule is initial_rule
        assert service.exposures()[0].rule_id == trace.rule_id == initial_rule.rule_id


class TestWarmUp:
    def test_it_calls_the_stable_pool_and_records_nothing(self, service: Service) -> None:
        service.run(service.plane.warm_up())
        assert [call.pool for call in service.pools.calls] == [Pool.STABLE]
        assert service.exposures() == []

    def test_it_ignores_an_unavailable_pool(self, service: Service) -> None:
        service.pools.assigned.clear()
        service.run(service.plane.warm_up())
        assert service.exposures() == []


class TestReadiness:
    def test_it_is_ready_if_a_stable_replica_has_a_version(self, service: Service) -> None:
        service.run(service.plane.require_ready())

    @pytest.mark.parametrize(
        "assigned",
        [{}, {Pool.STABLE: None}, {Pool.CANDIDATE: "v1"}],
        ids=["none", "empty", "other"],
    )
    def test_it_is_not_ready_without_a_stable_replica_with_a_version(
        self, service: Service, assigned: dict[Pool, str | None]
    ) -> None:
        service.pools.assigned = assigned
        with pytest.raises(NotReady, match="no replica of StablePool is ready yet: the rule"):
            service.run(service.plane.require_ready())

    def test_a_pool_without_a_version_fails_requests_with_an_exposure(
        self, service: Service
    ) -> None:
        service.pools.assigned[Pool.STABLE] = None
        with pytest.raises(Problem, match="StablePool has no version"):
            classify(service)
        assert [e.error for e in service.exposures()] == ["not_ready"]
