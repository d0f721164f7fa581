"""Copies requests to the candidate of a shadow, in the background."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from serve_app.data_plane.candidate_client import CandidateClient
from serve_app.data_plane.governor import Governor
from serve_app.data_plane.images import PreparedImages
from serve_app.data_plane.pools import Prediction
from serve_app.data_plane.review_sampling import ReviewSampler
from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.recording.recorder import Recorder
from serve_app.recording.records import CopyOutcome, Exposure, ShadowPair
from serve_app.rules.plan import Reason
from serve_app.rules.rule import Candidate, MirrorSettings, Rule
from serve_app.tasks import DetachedTasks

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
        candidate_client: CandidateClient,
        recorder: Recorder,
        review_sampler: ReviewSampler,
    ) -> None:
        self._candidate_client = candidate_client
        self._recorder = recorder
        self._review_sampler = review_sampler
        self._copies = DetachedTasks()
        self.governor = Governor()
        self.in_flight = 0
        self.outcome_counts: Counter[str] = Counter({outcome.value: 0 for outcome in CopyOutcome})

    def copy(self, rule: Rule, exposures: Sequence[Exposure], images: PreparedImages) -> None:
        """Copy a request if the rule samples it; returns at once.

        A pinned request is not copied: its caller chose the version.

        Args:
            exposures: Those of the request, one per image.
        """
        mirror, candidate = rule.mirror, rule.candidate_replicas
        if mirror is None or candidate is None or exposures[0].reason == Reason.PINNED:
            return
        draw = random.random()  # noqa: S311 no secret
        if draw >= mirror.sample:
            return
        probability = mirror.sample * self.governor.share
        copy = _Copy(rule.rule_id, mirror, candidate, exposures, images, probability)
        if draw >= probability:
            self._record_outcome(copy, CopyOutcome.SHED, GOVERNED)
        elif not self._candidate_client.breaker.allows(candidate):
            self._record_outcome(copy, CopyOutcome.SHED, NotReady.code)
        elif self.in_flight and self.in_flight + len(images) > mirror.max_in_flight:
            self.governor.record_lag()
            self._record_outcome(copy, CopyOutcome.SHED, FULL)
        else:
            self.in_flight += len(images)
            self._copies.start(self._send(copy))

    async def run(self) -> None:
        """Run the governor until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.governor.tick()

    async def close(self) -> None:
        """Cancel the copies in flight; they count as failed."""
        await self._copies.cancel()
        await self._review_sampler.close()

    async def _send(self, copy: _Copy) -> None:
        try:
            prediction = await self._candidate_client.classify(
                copy.candidate, None, copy.mirror.timeout_s, copy.images
            )
        except asyncio.CancelledError:
            self._record_outcome(copy, CopyOutcome.FAILED, STOPPED)
            raise
        except Problem as exc:
            self._record_failure(copy, exc.code)
        except Exception:
            logger.exception("copy.failed")
            self._record_failure(copy, Problem.code)
        else:
            self._record_outcome(copy, CopyOutcome.COPIED, None, prediction)
        finally:
            self.in_flight -= len(copy.images)

    def _record_failure(self, copy: _Copy, code: str) -> None:
        if code in (TooSlow.code, Busy.code):
            self.governor.record_lag()
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
                rule_id=copy.rule_id,
                candidate=copy.candidate.version,
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
                    copy.mirror.review, pair, copy.images[image], prediction.labels
                )


@dataclass(frozen=True, slots=True)
class _Copy:
    rule_id: str
    mirror: MirrorSettings
    candidate: Candidate
    exposures: Sequence[Exposure]
    images: PreparedImages
    probability: float
    started: float = field(default_factory=time.perf_counter)
