"""Keeps some of the copied images for human review."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from serve_app.data_plane.card_cache import CardCache
from serve_app.data_plane.images import InputImage
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.recording.recorder import Recorder
from serve_app.recording.records import KeptImage, ShadowPair
from serve_app.rules.review import ReviewSampling
from serve_app.tasks import DetachedTasks

PREVIEW_SIDE = 256  # px
SLOTS = 4  # images encoded at the same time
SLOT_S = 1.0  # an image takes a slot at least as long: at most `SLOTS` images per second
# One thread of low priority, so that live requests come first; on Linux each thread has a niceness.
ENCODER = ThreadPoolExecutor(1, thread_name_prefix="keep", initializer=partial(os.nice, 10))

logger = logging.getLogger(__name__)


class ReviewSampler:
    """Samples, shrinks and encrypts images.

    An image without a free slot is dropped and counted by the recorder. Sampling depends on chance
    alone and dropping on the load alone, not on which version is right.
    """

    def __init__(self, recorder: Recorder, image_cipher: ImageCipher, versions: CardCache) -> None:
        self._recorder = recorder
        self._cipher = image_cipher
        self._versions = versions
        self._tasks = DetachedTasks()

    def maybe_keep(
        self,
        review: ReviewSampling | None,
        pair: ShadowPair,
        image: InputImage,
        labels: Collection[str],
    ) -> None:
        """Keep a copied image if the rule's `review` samples it; returns at once.

        An image without a prediction of stable is not kept, nor one that the candidate's version
        served live: neither compares two versions.

        Args:
            labels: Those of the candidate.
        """
        if review is None or pair.live_label is None or pair.live_version == pair.candidate:
            return
        is_agreement = pair.live_label == pair.label
        probability = review.agreements if is_agreement else review.disagreements
        if random.random() >= probability:  # noqa: S311 no secret
            return
        if len(self._tasks) >= SLOTS:
            self._recorder.kept.drop()
            return
        self._tasks.start(self._encode_and_record(review, pair, probability, image, labels))

    async def close(self) -> None:
        """Drop the images that are not encoded yet."""
        await self._tasks.cancel()

    async def _encode_and_record(
        self,
        review: ReviewSampling,
        pair: ShadowPair,
        probability: float,
        image: InputImage,
        labels: Collection[str],
    ) -> None:
        try:
            digest, encrypted = await asyncio.get_running_loop().run_in_executor(
                ENCODER, self._encrypt_preview, image
            )
            stable = self._versions.card(pair.live_version or "")
        except BaseException as exc:
            self._recorder.kept.drop()
            if not isinstance(exc, Exception):
                raise
            logger.exception("image_save.failed")
        else:
            self._recorder.record_kept(
                KeptImage(
                    writer=pair.writer,
                    sequence=pair.sequence,
                    at_ms=pair.at_ms,
                    rule_id=pair.rule_id,
                    region=pair.region,
                    expires_at_ms=pair.at_ms + review.retention_ms,
                    room=review.keep,
                    probability=probability,
                    digest=digest,
                    stable=stable.version,
                    live_label=pair.live_label or "",
                    candidate=pair.candidate,
                    label=pair.label or "",
                    labels=tuple(sorted({*stable.labels, *labels})),
                    encrypted=encrypted,
                    unit=pair.unit,
                )
            )
        del image  # it may be large
        await asyncio.sleep(SLOT_S)

    def _encrypt_preview(self, image: InputImage) -> tuple[str, bytes]:
        """The digest of an image and its encrypted preview; runs in a thread."""
        preview = self._cipher.encrypt(image.preview(PREVIEW_SIDE))
        return self._cipher.digest(image.content()), preview
