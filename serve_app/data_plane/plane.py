"""Serves classification requests: plan, decode, call the pool, record the exposures."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from serve_app.clock import now_ms
from serve_app.data_plane.admission import Admission
from serve_app.data_plane.candidate_client import CandidateClient
from serve_app.data_plane.card_cache import CardCache
from serve_app.data_plane.circuit_breaker import CandidateBreaker
from serve_app.data_plane.images import InputImage, PreparedImages
from serve_app.data_plane.mirror import Mirror
from serve_app.data_plane.pool_client import PoolClient
from serve_app.data_plane.pools import Pools, Prediction, Replica
from serve_app.data_plane.review_sampling import ReviewSampler
from serve_app.data_plane.shared_look import SharedLook
from serve_app.errors import BadConfig, Busy, NotReady, Problem
from serve_app.known_labels import KnownLabels
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.privacy.prediction_ids import PredictionId, PredictionIdCodec
from serve_app.privacy.pseudonyms import Pseudonymizer
from serve_app.recording.recorder import Recorder
from serve_app.recording.records import Exposure
from serve_app.rules.plan import Context, Plan, Pool, Reason
from serve_app.rules.rule import Rule
from serve_app.trace import CLIENT_GONE, Trace

REPLICAS_MAX_AGE_S = 0.3
LABELS_MAX_AGE_S = 2.0
WARM_UP_POLL_S = 0.05

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    """The result of one request.

    Attributes:
        plan: The plan that served the request: that of the fallback if the candidate failed.
        prediction_ids: One per image.
    """

    plan: Plan
    prediction: Prediction
    rule: Rule
    prediction_ids: tuple[str, ...]
    latency_ms: float


class DataPlane:
    """Serves requests by the rule in force.

    Attributes:
        rejected_config: The last rule, if it was rejected.
        breaker: Of the rule's candidate.
        mirror: Copies requests while the rule is a shadow.
    """

    def __init__(
        self,
        pools: Pools,
        recorder: Recorder,
        pseudonymizer: Pseudonymizer,
        id_codec: PredictionIdCodec,
        image_cipher: ImageCipher,
        versions: CardCache,
    ) -> None:
        self.pools = pools
        self.recorder = recorder
        self.pseudonymizer = pseudonymizer
        self.id_codec = id_codec
        self.versions = versions
        self.rejected_config: BadConfig | None = None
        self.breaker = CandidateBreaker(pools)
        self._pool_client = PoolClient(pools, versions)
        self._candidate_client = CandidateClient(self._pool_client, self.breaker)
        review_sampler = ReviewSampler(recorder, image_cipher, versions)
        self.mirror = Mirror(self._candidate_client, recorder, review_sampler)
        self._admission = Admission()
        self._replicas = SharedLook(pools.replicas, REPLICAS_MAX_AGE_S)
        self._known_labels = SharedLook(
            partial(asyncio.to_thread, versions.known_labels), LABELS_MAX_AGE_S
        )
        self._rule: Rule | None = None

    @property
    def rule(self) -> Rule:
        """The rule in force.

        Raises:
            NotReady: No rule has been accepted yet.
        """
        if self._rule is None:
            rejected = self.rejected_config
            cause = f"; the last one was rejected: {rejected}" if rejected else ""
            raise NotReady(f"no rule is in force{cause}: deploy a valid one")
        return self._rule

    @property
    def has_rule(self) -> bool:
        """Whether a rule is in force."""
        return self._rule is not None

    def apply_rule(self, rule: Rule) -> None:
        """Put a rule in force."""
        if self._rule is None or rule.rule_id != self._rule.rule_id:
            self.recorder.record_adoption(rule.rule_id, rule.canonical(), now_ms())
        self._rule = rule
        self.breaker.set_candidate(rule.candidate_replicas)
        self.rejected_config = None

    def reject(self, rejection: BadConfig) -> None:
        """Record a rejected rule; the rule in force stays."""
        self.rejected_config = rejection

    def admission(self) -> contextlib.AbstractContextManager[None]:
        """Admits a request; to be entered before its body is read. See `Admission.arrival`."""
        return self._admission.arrival()

    async def replicas(self) -> list[Replica]:
        """The replicas of all pools that respond in time, at most `REPLICAS_MAX_AGE_S` ago."""
        return await self._replicas.get()

    async def known_labels(self) -> KnownLabels:
        """The labels of all versions in the registry, read at most `LABELS_MAX_AGE_S` ago."""
        return await self._known_labels.get()

    def check_pin(self, context: Context) -> None:
        """Check that the pin of a request can be served; to be called before the body is read.

        Raises:
            PinRejected: The rule does not allow pins.
            NoSuchVersion, NotReady: See `CardCache.card`.
        """
        if context.pin:
            self.plan(context)
            self.versions.card(context.pin)

    async def classify(
        self, images: Sequence[InputImage], context: Context, trace: Trace, started: float
    ) -> ClassifyResult:
        """Classify the images of one request, all by the same plan.

        Args:
            trace: Gets the plan, the version and the failure.
            started: When the request arrived, by `time.perf_counter`, s.

        Raises:
            Busy: See `Admission.work`.
            Problem: The pin is rejected, an image cannot be read, or no version could predict.
        """
        with self._admission.work(len(images)):
            return await self._classify(images, context, trace, started)

    async def _classify(
        self, images: Sequence[InputImage], context: Context, trace: Trace, started: float
    ) -> ClassifyResult:
        rule = self.rule
        trace.rule_id, trace.rule = rule.rule_id, rule.kind
        trace.user, trace.region, trace.images = context.user, context.region, len(images)
        if len(images) > 1:  # one draw would assign all images: they are not independent units
            context = replace(context, draw=None)
        plan = self.plan(context)
        trace.reason, trace.assigned = plan.reason, plan.assigned
        prepared = PreparedImages(images)
        await prepared.pixels(
            self._pool_client.input_side(plan.pool, plan.version, self._expected_version(plan))
        )
        try:
            served_by, prediction, failure = await self._predict(rule, plan, prepared)
        except (Exception, asyncio.CancelledError) as exc:
            # A disconnect counts as a failure of the version: it may have been too slow.
            is_disconnect = isinstance(exc, asyncio.CancelledError)
            error = CLIENT_GONE if is_disconnect else getattr(exc, "code", Problem.code)
            failed = [
                self._record_exposure(rule, plan, context, started, None, image, error)
                for image in range(len(images))
            ]
            self.mirror.copy(rule, failed, prepared)
            raise
        trace.reason, trace.error = served_by.reason, failure
        trace.assigned = plan.assigned or prediction.version
        trace.served, trace.model_ms = prediction.version, prediction.model_ms
        exposures = [
            self._record_exposure(rule, plan, context, started, prediction, image, failure)
            for image in range(len(images))
        ]
        self.mirror.copy(rule, exposures, prepared)
        latency_ms = 1000 * (time.perf_counter() - started)
        self.mirror.governor.record_latency(latency_ms)
        ids = tuple(self.id_codec.encode(_prediction_id(exposure)) for exposure in exposures)
        return ClassifyResult(served_by, prediction, rule, ids, latency_ms)

    def plan(self, context: Context) -> Plan:
        """The plan of a request, by the rule in force.

        Raises:
            PinRejected: See `Rule.plan`.
        """
        return self.rule.plan(context, ready=self.breaker.ready)

    @property
    def effective_weight(self) -> float:
        """The share of the units that the candidate serves; 0 until the candidate is ready."""
        return self.rule.share if self.rule.splits and self.breaker.ready else 0.0

    @contextlib.asynccontextmanager
    async def background_tasks(self) -> AsyncIterator[None]:
        """Run the recorder, the circuit breaker and the mirror."""
        self.recorder.start()
        tasks = [asyncio.create_task(run()) for run in (self.breaker.run, self.mirror.run)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await self.mirror.close()

    async def warm_up(self) -> None:
        """Call the stable pool once there is a rule, so that the first request is not slower."""
        while not self.has_rule:
            await asyncio.sleep(WARM_UP_POLL_S)
        plan = Plan(Reason.STATIC)
        side = self._pool_client.input_side(plan.pool, plan.version, self._expected_version(plan))
        with contextlib.suppress(Problem):
            blank = np.zeros((1, side, side, 3), np.uint8)
            await self.pools.classify(plan.pool, plan.version, blank)

    @property
    def rejection(self) -> dict[str, str] | None:
        """The path and the message of `rejected_config`, as JSON."""
        config = self.rejected_config
        return {"path": config.path, "message": config.message} if config else None

    async def require_ready(self) -> None:
        """Check that a rule is in force and that a replica of the stable pool has a version.

        The candidate may be absent: stable is its fallback.

        Raises:
            NotReady: There is no rule or no such replica.
        """
        rule = self.rule
        ready_pools = {replica.pool for replica in await self.replicas() if replica.version}
        if Pool.STABLE not in ready_pools:
            raise NotReady(
                f"no replica of {Pool.STABLE.value} is ready yet: the rule {rule.kind} needs one"
            )

    async def _predict(
        self, rule: Rule, plan: Plan, images: PreparedImages
    ) -> tuple[Plan, Prediction, str | None]:
        """The plan that succeeded, its prediction, and the error code of the assigned version."""
        if plan.fallback is None:
            prediction = await self._call_pool(plan, images)
            # Another version serves while the pool is updated, or if it rejected the update.
            is_other = plan.assigned is not None and prediction.version != plan.assigned
            return plan, prediction, NotReady.code if is_other else None
        try:
            return plan, await self._call_candidate(rule, plan, images), None
        except Problem as exc:
            if exc.status < 500 and not isinstance(exc, Busy):  # an error of the request
                raise
            failure = exc.code
        except Exception:
            logger.exception("candidate.failed")
            failure = Problem.code
        return plan.fallback, await self._call_pool(plan.fallback, images), failure

    async def _call_candidate(self, rule: Rule, plan: Plan, images: PreparedImages) -> Prediction:
        """The candidate's prediction, unless the circuit breaker is open."""
        candidate = rule.candidate_replicas
        if candidate is None or not self.breaker.allows(candidate):
            raise NotReady("the circuit breaker of the candidate is open")
        return await self._candidate_client.classify(
            candidate, plan.version, plan.timeout_s, images
        )

    async def _call_pool(self, plan: Plan, images: PreparedImages) -> Prediction:
        return await self._pool_client.classify(
            plan.pool, plan.version, self._expected_version(plan), images
        )

    def _expected_version(self, plan: Plan) -> str:
        return plan.assigned or self.rule.stable

    def _record_exposure(
        self,
        rule: Rule,
        plan: Plan,
        context: Context,
        started: float,
        prediction: Prediction | None,
        image: int,
        error: str | None,
    ) -> Exposure:
        served = prediction.version if prediction else None
        label, confidence = prediction.top_label(image) if prediction else (None, None)
        exposure = Exposure(
            writer=self.recorder.writer,
            sequence=self.recorder.next_sequence(),
            at_ms=now_ms(),
            request_id=context.request_id,
            rule_id=rule.rule_id,
            rule=rule.kind,
            reason=plan.reason.value,
            assigned=plan.assigned or served,
            served=served,
            user=context.user,
            session=context.session,
            region=context.region,
            label=label,
            confidence=confidence,
            latency_ms=1000 * (time.perf_counter() - started),
            model_ms=prediction.model_ms if prediction else None,
            error=error,
        )
        self.recorder.record(exposure)
        return exposure


def _prediction_id(exposure: Exposure) -> PredictionId:
    return PredictionId(
        exposure.writer,
        exposure.sequence,
        exposure.at_ms,
        exposure.rule_id,
        exposure.assigned or "",
        exposure.label or "",
    )
