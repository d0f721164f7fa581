"""Copies of requests for the candidate, whose answers nobody waits for."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections import Counter
from collections.abc import Sequence

from serve_app.data_plane.circuit_breaker import CandidateBreaker
from serve_app.data_plane.governor import Governor
from serve_app.data_plane.images import PreparedImages
from serve_app.data_plane.pool_client import PoolClient
from serve_app.data_plane.pools import Prediction
from serve_app.data_plane.review_sampling import ReviewSampler
from serve_app.domain import CopyOutcome, Exposure, Reason, ShadowPair
from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.recording.recorder import Recorder
from serve_app.rules.rule import Rule
from serve_app.rules.shadow import Shadow

TICK_S = 1.0
GOVERNED, FULL, STOPPED = "governed", "full", "stopped"  # why a copy is missing

logger = logging.getLogger(__name__)


class Mirror:
    """Each image of a shadow's sample leaves exactly one pair: copied, failed or shed.

    Attributes:
        outcome_counts: Images by outcome, since this process began.
    """

    def __init__(
        self,
        pool_client: PoolClient,
        watch: CandidateBreaker,
        recorder: Recorder,
        review_sampler: ReviewSampler,
    ) -> None:
        self._pool_client = pool_client
        self._breaker = watch
        self._recorder = recorder
        self._review_sampler = review_sampler
        self._copies: set[asyncio.Task[None]] = set()
        self.governor = Governor()
        self.in_flight = 0
        self.outcome_counts: Counter[str] = Counter({outcome.value: 0 for outcome in CopyOutcome})

    def copy(self, rule: Rule, exposures: Sequence[Exposure], images: PreparedImages) -> None:
        """Copy a request that the rule samples; returns at once, whatever becomes of it.

        One that was pinned is not: the version that answered is its caller's choice.

        Args:
            exposures: Its own, one an image.
        """
        if not isinstance(rule, Shadow) or exposures[0].reason == Reason.PINNED:
            return
        drawn = random.random()  # noqa: S311 no secret
        if drawn >= rule.sample:
            return
        probability = rule.sample * self.governor.share
        copy = _Copy(rule, exposures, images, probability)
        if drawn >= probability:
            self._note(copy, CopyOutcome.SHED, GOVERNED)
        elif not self._breaker.is_closed:
            self._note(copy, CopyOutcome.SHED, NotReady.code)
        elif self.in_flight and self.in_flight + len(images) > rule.max_in_flight:
            self.governor.record_lag()
            self._note(copy, CopyOutcome.SHED, FULL)
        else:
            self.in_flight += len(images)
            # A context of its own: Serve cancels what a request started when its client hangs up.
            task = asyncio.get_running_loop().create_task(
                self._ask(copy), context=contextvars.Context()
            )
            self._copies.add(task)
            task.add_done_callback(self._copies.discard)

    async def run(self) -> None:
        """Govern until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.governor.tick()

    async def close(self) -> None:
        """End the copies that are under way; they count as failed."""
        await asyncio.sleep(0)  # a task that is cancelled before it began would tell nothing
        for task in self._copies:
            task.cancel()
        await asyncio.gather(*self._copies, return_exceptions=True)
        await self._review_sampler.close()

    async def _ask(self, copy: _Copy) -> None:
        rule, candidate = copy.rule, copy.rule.candidate_replicas
        try:
            async with self._breaker.deadline(candidate, rule.timeout_s):
                answer = await self._pool_client.classify(
                    candidate.pool, None, candidate.version, copy.images
                )
            if answer.version != candidate.version:
                raise NotReady(f"{candidate.pool.value} holds {answer.version}")
        except asyncio.CancelledError:
            self._note(copy, CopyOutcome.FAILED, STOPPED)
            raise
        except Problem as exc:
            self._failed(copy, exc.code)
        except Exception:
            logger.exception("copy.failed")
            self._failed(copy, Problem.code)
        else:
            self._breaker.record_success(candidate)
            self._note(copy, CopyOutcome.COPIED, None, answer)
        finally:
            self.in_flight -= len(copy.images)

    def _failed(self, copy: _Copy, code: str) -> None:
        if code in (TooSlow.code, Busy.code):
            self.governor.record_lag()
        if code == TooSlow.code:
            self._breaker.record_timeout(copy.rule.candidate_replicas)
        elif code == NotReady.code:
            self._breaker.record_unreachable(copy.rule.candidate_replicas)
        self._note(copy, CopyOutcome.FAILED, code)

    def _note(
        self, copy: _Copy, outcome: CopyOutcome, error: str | None, answer: Prediction | None = None
    ) -> None:
        latency_ms = 1000 * (time.perf_counter() - copy.started)
        self.outcome_counts[outcome.value] += len(copy.images)
        for image, live in enumerate(copy.exposures):
            label, confidence = answer.best(image) if answer else (None, None)
            pair = ShadowPair(
                writer=live.writer,
                sequence=live.sequence,
                at_ms=live.at_ms,
                rule_id=copy.rule.rule_id,
                candidate=copy.rule.candidate,
                outcome=outcome.value,
                probability=copy.probability,
                label=label,
                confidence=confidence,
                latency_ms=None if outcome is CopyOutcome.SHED else latency_ms,
                model_ms=answer.model_ms if answer else None,
                error=error,
                region=live.region,
                live_version=live.served,
                live_label=live.label,
                live_model_ms=live.model_ms,
                live_latency_ms=live.latency_ms,
                unit=live.user or live.session,
            )
            self._recorder.record_pair(pair)
            if answer:
                self._review_sampler.maybe_keep(
                    copy.rule.review, pair, copy.images[image], answer.labels
                )


class _Copy:
    def __init__(
        self,
        rule: Shadow,
        exposures: Sequence[Exposure],
        images: PreparedImages,
        probability: float,
    ) -> None:
        self.rule = rule
        self.exposures = exposures
        self.images = images
        self.probability = probability
        self.started = time.perf_counter()
