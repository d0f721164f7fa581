"""The path of a request: context, plan, pixels, call, answer, record."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from models.errors import BadImage
from models.preprocess import Pixels
from serve_app.clock import now_ms
from serve_app.data_plane.pictures import Picture
from serve_app.data_plane.pools import Answer, CannotAnswer, OtherSide, Pools, Replica
from serve_app.data_plane.versions import Versions
from serve_app.domain import Context, Exposure, Plan, Pool, Reason
from serve_app.errors import BadConfig, BadPicture, Busy, NotReady, Problem
from serve_app.identity import Identity, PredictionId
from serve_app.recording.recorder import Recorder
from serve_app.rules.rule import Rule
from serve_app.trace import CLIENT_GONE, Trace

DECODERS = 2  # threads
MAX_IN_PROGRESS = 256  # requests of one ingress
ANY_SIDE = 64  # px
WARM_UP_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one request; `prediction_ids` has one id a picture."""

    plan: Plan
    answer: Answer
    rule: Rule
    prediction_ids: tuple[str, ...]
    latency_ms: float


class DataPlane:
    """Answers requests by the rule in force."""

    def __init__(
        self, pools: Pools, recorder: Recorder, identity: Identity, versions: Versions
    ) -> None:
        self.pools = pools
        self.recorder = recorder
        self.identity = identity
        self.versions = versions
        self.rejected: BadConfig | None = None
        self._rule: Rule | None = None
        self._in_progress = 0
        self._sides: dict[tuple[Pool, str | None], int] = {}
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")

    @property
    def rule(self) -> Rule:
        """The rule in force.

        Raises:
            NotReady: None was ever accepted.
        """
        if self._rule is None:
            why = f"; the last one was refused: {self.rejected}" if self.rejected else ""
            raise NotReady(f"no rule is in force{why}: deploy a good one")
        return self._rule

    @property
    def is_ruled(self) -> bool:
        """Whether any rule was ever accepted."""
        return self._rule is not None

    def obey(self, rule: Rule) -> None:
        """Put a rule in force."""
        if self._rule is None or rule.rule_id != self._rule.rule_id:
            self.recorder.adopted(rule.rule_id, rule.canonical(), now_ms())
        self._rule = rule
        self.rejected = None

    def refuse(self, refusal: BadConfig) -> None:
        """Hold a bad rule aside; the one in force stays."""
        self.rejected = refusal

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
            PinRefused: The rule allows none.
            NoSuchVersion, NotReady: See `Versions.card`.
        """
        if context.pin:
            self.rule.plan(context)
            self.versions.card(context.pin)

    async def classify(
        self, pictures: Sequence[Picture], context: Context, trace: Trace, started: float
    ) -> Prediction:
        """Answer one request of one picture or more; one plan for all of them.

        Args:
            started: When the request came, by `time.perf_counter`.

        Raises:
            Problem: What the caller is told instead.
        """
        rule = self.rule
        trace.rule_id, trace.rule = rule.rule_id, rule.kind
        trace.user, trace.region, trace.pictures = context.user, context.region, len(pictures)
        plan = rule.plan(context)
        trace.reason, trace.assigned = plan.reason, plan.version
        pixels = await self._pixels(pictures, self._side(plan))
        try:
            answer = await self._answer(plan, pictures, pixels)
        except (Exception, asyncio.CancelledError) as exc:
            # A version whose users give up has failed them as well.
            gone = isinstance(exc, asyncio.CancelledError)
            error = CLIENT_GONE if gone else getattr(exc, "code", Problem.code)
            for _ in pictures:
                self._record(rule, plan, context, started, None, 0, error)
            raise
        trace.assigned = plan.version or answer.version
        trace.served, trace.model_ms = answer.version, answer.model_ms
        ids = tuple(
            self._record(rule, plan, context, started, answer, picture, None)
            for picture in range(len(pictures))
        )
        return Prediction(plan, answer, rule, ids, 1000 * (time.perf_counter() - started))

    async def warm_up(self) -> None:
        """Ask the stable pool about nothing, so that no user pays for what first use loads."""
        while not self.is_ruled:
            await asyncio.sleep(WARM_UP_POLL_S)
        plan = Plan(Reason.STATIC)
        side = self._side(plan)
        with contextlib.suppress(Problem):
            blank = np.zeros((1, side, side, 3), np.uint8)
            await self.pools.classify(plan.pool, plan.version, blank)

    @property
    def rejection(self) -> dict[str, str] | None:
        """The rule that was refused last, if none was accepted since."""
        refusal = self.rejected
        return {"path": refusal.path, "message": refusal.message} if refusal else None

    async def require_ready(self) -> None:
        """Pass if a rule is in force and each pool that it needs has a replica that can answer.

        Raises:
            NotReady: What is missing.
        """
        held = {replica.pool for replica in await self.replicas() if replica.version}
        for pool in self.rule.pools:
            if pool not in held:
                raise NotReady(f"no replica of {pool.value} can answer yet")

    async def replicas(self) -> list[Replica]:
        """Every replica of the pools that answers in time."""
        return await self.pools.replicas()

    async def _answer(self, plan: Plan, pictures: Sequence[Picture], pixels: Pixels) -> Answer:
        reply = await self.pools.classify(plan.pool, plan.version, pixels)
        if isinstance(reply, OtherSide):
            # The replica was given another version since this pool was last asked.
            self._sides[plan.pool, plan.version] = reply.side
            pixels = await self._pixels(pictures, reply.side)
            reply = await self.pools.classify(plan.pool, plan.version, pixels)
        if isinstance(reply, OtherSide):
            raise NotReady("the versions of the pool change just now: try again in a second")
        if isinstance(reply, CannotAnswer):
            raise NotReady(reply.why)
        return reply

    def _side(self, plan: Plan) -> int:
        """The size that the pool took last; at first that of the version that the rule names.

        Only a guess, so a card that cannot be read is no harm: the replica will tell.
        """
        key = (plan.pool, plan.version)
        if key not in self._sides:
            version = plan.version or next(iter(self.rule.versions.values()))
            try:
                self._sides[key] = self.versions.card(version).input.side
            except Problem:
                self._sides[key] = ANY_SIDE
        return self._sides[key]

    async def _pixels(self, pictures: Sequence[Picture], side: int) -> Pixels:
        loop = asyncio.get_running_loop()
        try:
            if len(pictures) == 1 and pictures[0].is_quick():
                return pictures[0].pixels(side)[np.newaxis]
            prepared = await asyncio.gather(
                *(
                    loop.run_in_executor(self._decoders, picture.pixels, side)
                    for picture in pictures
                )
            )
        except BadImage as exc:
            raise BadPicture(exc.code, str(exc)) from exc
        return np.stack(prepared)

    def _record(
        self,
        rule: Rule,
        plan: Plan,
        context: Context,
        started: float,
        answer: Answer | None,
        picture: int,
        error: str | None,
    ) -> str:
        """Record what one picture met; returns its prediction id."""
        sequence = self.recorder.next_sequence()
        at_ms = now_ms()
        served = answer.version if answer else None
        assigned = plan.version or served
        label, confidence = None, None
        if answer:
            best = int(answer.probabilities[picture].argmax())
            label = answer.labels[best]
            confidence = float(answer.probabilities[picture, best])
        self.recorder.record(
            Exposure(
                writer=self.recorder.writer,
                sequence=sequence,
                at_ms=at_ms,
                request_id=context.request_id,
                rule_id=rule.rule_id,
                rule=rule.kind,
                reason=plan.reason.value,
                assigned=assigned,
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
        )
        return self.identity.seal(
            PredictionId(self.recorder.writer, sequence, at_ms, rule.rule_id, assigned or "")
        )
