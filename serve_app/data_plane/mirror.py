"""Copies requests to the candidate of a shadow, in the background."""

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
GOVERNED, FULL, STOPPED = "governed", "full", "stopped"  # error codes of copies

logger = logging.getLogger(__name__)


class Mirror:
    """Records one shadow pair for each image of the sample: copied, failed or shed.

    Attributes:
        in_flight: Copied images that the candidate has not answered yet.
        outcome_counts: Images by outcome, since the process started.
    """

    def __init__(
        self,
        pool_client: PoolClient,
        breaker: CandidateBreaker,
        recorder: Recorder,
        review_sampler: ReviewSampler,
    ) -> None:
        self._pool_client = pool_client
        self._breaker = breaker
        self._recorder = recorder
        self._review_sampler = review_sampler
        self._copies: set[asyncio.Task[None]] = set()
        self.governor = Governor()
        self.in_flight = 0
        self.outcome_counts: Counter[str] = Counter({outcome.value: 0 for outcome in CopyOutcome})

    def copy(self, rule: Rule, exposures: Sequence[Exposure], images: PreparedImages) -> None:
        """Copy a request if the rule samples it; returns at once.

        A pinned request is not copied: its caller chose the version.

        Args:
            exposures: Those of the request, one per image.
        """
        if not isinstance(rule, Shadow) or exposures[0].reason == Reason.PINNED:
            return
        draw = random.random()  # noqa: S311 no secret
        if draw >= rule.sample:
            return
        probability = rule.sample * self.governor.share
        copy = _Copy(rule, exposures, images, probability)
        if draw >= probability:
            self._record_outcome(copy, CopyOutcome.SHED, GOVERNED)
        elif not self._breaker.is_closed:
            self._record_outcome(copy, CopyOutcome.SHED, NotReady.code)
        elif self.in_flight and self.in_flight + len(images) > rule.max_in_flight:
            self.governor.record_lag()
            self._record_outcome(copy, CopyOutcome.SHED, FULL)
        else:
            self.in_flight += len(images)
            # An empty context: Serve cancels what runs in the context of a request when its client
            # disconnects.
            task = asyncio.get_running_loop().create_task(
                self._send(copy), context=contextvars.Context()
            )
            self._copies.add(task)
            task.add_done_callback(self._copies.discard)

    async def run(self) -> None:
        """Run the governor until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.governor.tick()

    async def close(self) -> None:
        """Cancel the copies in flight; they count as failed."""
        await asyncio.sleep(0)  # a task that is cancelled before it starts would record nothing
        for task in self._copies:
            task.cancel()
        await asyncio.gather(*self._copies, return_exceptions=True)
        await self._review_sampler.close()

    async def _send(self, copy: _Copy) -> None:
        rule, candidate = copy.rule, copy.rule.candidate_replicas
        try:
            async with self._breaker.deadline(candidate, rule.timeout_s):
                prediction = await self._pool_client.classify(
                    candidate.pool, None, candidate.version, copy.images
                )
            if prediction.version != candidate.version:
                raise NotReady(f"{candidate.pool.value} serves {prediction.version}")
        except asyncio.CancelledError:
            self._record_outcome(copy, CopyOutcome.FAILED, STOPPED)
            raise
        except Problem as exc:
            self._record_failure(copy, exc.code)
        except Exception:
            logger.exception("copy.failed")
            self._record_failure(copy, Problem.code)
        else:
            self._breaker.record_success(candidate)
            self._record_outcome(copy, CopyOutcome.COPIED, None, prediction)
        finally:
            self.in_flight -= len(copy.images)

    def _record_failure(self, copy: _Copy, code: str) -> None:
        if code in (TooSlow.code, Busy.code):
            self.governor.record_lag()
        if code == TooSlow.code:
            self._breaker.record_timeout(copy.rule.candidate_replicas)
        elif code == NotReady.code:
            self._breaker.record_unreachable(copy.rule.candidate_replicas)
        self._record_outcome(copy, CopyOutcome.FAILED, code)

    def _record_outcome(
        self,
        copy: _Copy,
        outcome: CopyOutcome,
        error: str | None,
        prediction: Prediction | None = None,
    ) -> None:
        latency_ms = 1000 * (time.perf_counter() - copy.started)
        self.outcome_counts[outcome.value] += len(copy.images)
        for image, exposure in enumerate(copy.exposures):
            label, confidence = prediction.top_label(image) if prediction else (None, None)
            pair = ShadowPair(
                writer=exposure.writer,
                sequence=exposure.sequence,
                at_ms=exposure.at_ms,
                rule_id=copy.rule.rule_id,
                candidate=copy.rule.candidate,
                outcome=outcome.value,
                probability=copy.probability,
                label=label,
                confidence=confidence,
                latency_ms=None if outcome is CopyOutcome.SHED else latency_ms,
                model_ms=prediction.model_ms if prediction else None,
                error=error,
                region=exposure.region,
                live_version=exposure.served,
                live_label=exposure.label,
                live_model_ms=exposure.model_ms,
                live_latency_ms=exposure.latency_ms,
                unit=exposure.user or exposure.session,
            )
            self._recorder.record_pair(pair)
            if prediction:
                self._review_sampler.maybe_keep(
                    copy.rule.review, pair, copy.images[image], prediction.labels
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
