"""The path of a request: context, plan, pixels, call, answer, record."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serve_app.clock import now_ms
from serve_app.data_plane.card_cache import CardCache
from serve_app.data_plane.circuit_breaker import CandidateBreaker
from serve_app.data_plane.images import InputImage, PreparedImages
from serve_app.data_plane.mirror import Mirror
from serve_app.data_plane.pool_client import PoolClient
from serve_app.data_plane.pools import Pools, Prediction
from serve_app.data_plane.review_sampling import ReviewSampler
from serve_app.domain import Context, Exposure, Plan, Pool, Reason
from serve_app.errors import BadConfig, Busy, NotReady, Problem, TooSlow
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.privacy.prediction_ids import PredictionId, PredictionIdCodec
from serve_app.privacy.pseudonyms import Pseudonymizer
from serve_app.recording.recorder import Recorder
from serve_app.rules.rule import Rule
from serve_app.trace import CLIENT_GONE, Trace

MAX_IN_PROGRESS = 256  # requests of one ingress
WARM_UP_POLL_S = 0.05

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    """The answer to one request; `prediction_ids` has one id an image.

    Attributes:
        plan: The one that was answered by; a fallback's, where the first failed.
    """

    plan: Plan
    answer: Prediction
    rule: Rule
    prediction_ids: tuple[str, ...]
    latency_ms: float


class DataPlane:
    """Answers requests by the rule in force.

    Attributes:
        watch: Of the candidate that the rule tries.
        mirror: Copies requests, where the rule is a shadow.
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
        self.rejected: BadConfig | None = None
        self.breaker = CandidateBreaker(pools)
        self._pool_client = PoolClient(pools, versions)
        review_sampler = ReviewSampler(recorder, image_cipher, versions)
        self.mirror = Mirror(self._pool_client, self.breaker, recorder, review_sampler)
        self._rule: Rule | None = None
        self._in_progress = 0

    @property
    def rule(self) -> Rule:
        """The rule in force.

        Raises:
            NotReady: None was ever accepted.
        """
        if self._rule is None:
            why = f"; the last one was rejected: {self.rejected}" if self.rejected else ""
            raise NotReady(f"no rule is in force{why}: deploy a good one")
        return self._rule

    @property
    def has_rule(self) -> bool:
        """Whether any rule was ever accepted."""
        return self._rule is not None

    def apply_rule(self, rule: Rule) -> None:
        """Put a rule in force."""
        if self._rule is None or rule.rule_id != self._rule.rule_id:
            self.recorder.adopted(rule.rule_id, rule.canonical(), now_ms())
        self._rule = rule
        self.breaker.set_candidate(rule.candidate_replicas)
        self.rejected = None

    def reject(self, rejection: BadConfig) -> None:
        """Hold a bad rule aside; the one in force stays."""
        self.rejected = rejection

    @contextlib.contextmanager
    def admission(self) -> Iterator[None]:
        """Holds a request's place; to be entered before its body is read.

        Raises:
            Busy: Too many are in progress.
        """
        if self._in_progress >= MAX_IN_PROGRESS:
            raise Busy(
                f"{self._in_progress} requests are in progress, and no more are taken:"
                " try again in a second"
            )
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1

    def check_pin(self, context: Context) -> None:
        """Pass a request without a pin, or with one that can be obeyed; before its body is read.

        Raises:
            PinRejected: The rule allows none.
            NoSuchVersion, NotReady: See `CardCache.card`.
        """
        if context.pin:
            self.plan(context)
            self.versions.card(context.pin)

    async def classify(
        self, images: Sequence[InputImage], context: Context, trace: Trace, started: float
    ) -> ClassifyResult:
        """Prediction one request of one image or more; one plan for all of them.

        Args:
            started: When the request came, by `time.perf_counter`.

        Raises:
            Problem: What the caller is told instead.
        """
        rule = self.rule
        trace.rule_id, trace.rule = rule.rule_id, rule.kind
        trace.user, trace.region, trace.images = context.user, context.region, len(images)
        if len(images) > 1:  # one draw for all would count as many
            context = replace(context, draw=None)
        plan = self.plan(context)
        trace.reason, trace.assigned = plan.reason, plan.assigned
        prepared = PreparedImages(images)
        await prepared.at(
            self._pool_client.input_side(plan.pool, plan.version, self._expected(plan))
        )
        try:
            answered_by, answer, failure = await self._answer(rule, plan, prepared)
        except (Exception, asyncio.CancelledError) as exc:
            # A version whose users give up has failed them as well.
            gone = isinstance(exc, asyncio.CancelledError)
            error = CLIENT_GONE if gone else getattr(exc, "code", Problem.code)
            failed = [
                self._record(rule, plan, context, started, None, image, error)
                for image in range(len(images))
            ]
            self.mirror.copy(rule, failed, prepared)
            raise
        trace.reason, trace.error = answered_by.reason, failure
        trace.assigned = plan.assigned or answer.version
        trace.served, trace.model_ms = answer.version, answer.model_ms
        records = [
            self._record(rule, plan, context, started, answer, image, failure)
            for image in range(len(images))
        ]
        self.mirror.copy(rule, records, prepared)
        latency_ms = 1000 * (time.perf_counter() - started)
        self.mirror.governor.record_latency(latency_ms)
        ids = tuple(self.id_codec.encode(_id_of(record)) for record in records)
        return ClassifyResult(answered_by, answer, rule, ids, latency_ms)

    def plan(self, context: Context) -> Plan:
        """Who answers a request, by the rule in force.

        Raises:
            PinRejected: See `Rule.plan`.
        """
        return self.rule.plan(context, ready=self.breaker.ready)

    @property
    def effective_weight(self) -> float:
        """The share that the candidate gets now: none until its replicas are ready."""
        return self.rule.share if self.breaker.ready else 0.0

    @contextlib.asynccontextmanager
    async def background_tasks(self) -> AsyncIterator[None]:
        """What runs beside the requests: recording, watching, shadowing."""
        self.recorder.start()
        tasks = [asyncio.create_task(work()) for work in (self.breaker.run, self.mirror.run)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await self.mirror.close()

    async def warm_up(self) -> None:
        """Ask the stable pool about nothing, so that no user pays for what first use loads."""
        while not self.has_rule:
            await asyncio.sleep(WARM_UP_POLL_S)
        plan = Plan(Reason.STATIC)
        side = self._pool_client.input_side(plan.pool, plan.version, self._expected(plan))
        with contextlib.suppress(Problem):
            blank = np.zeros((1, side, side, 3), np.uint8)
            await self.pools.classify(plan.pool, plan.version, blank)

    @property
    def rejection(self) -> dict[str, str] | None:
        """The rule that was rejected last, if none was accepted since."""
        rejection = self.rejected
        return {"path": rejection.path, "message": rejection.message} if rejection else None

    async def require_ready(self) -> None:
        """Pass if a rule is in force and the stable pool has a replica that can answer.

        A candidate is not needed: stable answers in its place.

        Raises:
            NotReady: What is missing.
        """
        rule = self.rule
        held = {replica.pool for replica in await self.pools.replicas() if replica.version}
        if Pool.STABLE not in held:
            raise NotReady(
                f"no replica of {Pool.STABLE.value} can answer yet, as the rule {rule.kind} needs"
            )

    async def _answer(
        self, rule: Rule, plan: Plan, images: PreparedImages
    ) -> tuple[Plan, Prediction, str | None]:
        """The plan that was answered by, its answer, and the code of the assigned version's
        failure."""
        if plan.fallback is None:
            answer = await self._ask(plan, images)
            # While the pool is changed, or because it rejected to be.
            is_other = plan.assigned is not None and answer.version != plan.assigned
            return plan, answer, NotReady.code if is_other else None
        try:
            return plan, await self._try(rule, plan, images), None
        except Problem as exc:
            if exc.status < 500 and not isinstance(exc, Busy):  # the request's own fault
                raise
            failure = exc.code
        except Exception:
            logger.exception("candidate.failed")
            failure = Problem.code
        return plan.fallback, await self._ask(plan.fallback, images), failure

    async def _try(self, rule: Rule, plan: Plan, images: PreparedImages) -> Prediction:
        """The candidate's answer, if it comes in time.

        Whether it can be asked is known under the rule in force: a request of the one before asks.
        """
        if self._rule is rule and not self.breaker.is_closed:
            raise NotReady("the candidate has no replica that can answer")
        candidate = rule.candidate_replicas
        try:
            async with self.breaker.deadline(candidate, plan.timeout_s):
                answer = await self._ask(plan, images)
        except TooSlow:
            self.breaker.record_timeout(candidate)
            raise
        except NotReady:
            self.breaker.record_unreachable(candidate)
            raise
        if answer.version != plan.assigned:
            raise NotReady(f"{plan.pool.value} holds {answer.version}, not {plan.assigned}")
        self.breaker.record_success(candidate)
        return answer

    async def _ask(self, plan: Plan, images: PreparedImages) -> Prediction:
        return await self._pool_client.classify(
            plan.pool, plan.version, self._expected(plan), images
        )

    def _expected(self, plan: Plan) -> str:
        return plan.assigned or next(iter(self.rule.versions.values()))

    def _record(
        self,
        rule: Rule,
        plan: Plan,
        context: Context,
        started: float,
        answer: Prediction | None,
        image: int,
        error: str | None,
    ) -> Exposure:
        """Record what one image met."""
        served = answer.version if answer else None
        label, confidence = answer.best(image) if answer else (None, None)
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
            model_ms=answer.model_ms if answer else None,
            error=error,
        )
        self.recorder.record(exposure)
        return exposure


def _id_of(exposure: Exposure) -> PredictionId:
    return PredictionId(
        exposure.writer,
        exposure.sequence,
        exposure.at_ms,
        exposure.rule_id,
        exposure.assigned or "",
        exposure.label or "",
    )
