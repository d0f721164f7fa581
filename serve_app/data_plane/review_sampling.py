"""Some of the copied images are kept, so that people may say what they show."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import random
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from serve_app.data_plane.card_cache import CardCache
from serve_app.data_plane.images import InputImage
from serve_app.domain import KeptImage, ShadowPair
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.recording.recorder import Recorder
from serve_app.rules.review import ReviewSampling

LONGEST_SIDE = 256  # px
PLACES = 4  # images in the making at once, each for a second at least: so many a second
PLACE_S = 1.0
# One thread, at a lower priority than what answers; Linux keeps a niceness for each.
ENCODER = ThreadPoolExecutor(1, thread_name_prefix="keep", initializer=partial(os.nice, 10))

logger = logging.getLogger(__name__)


class ReviewSampler:
    """Draws, shrinks and seals; what finds no place is dropped, and counted with the recorder's.

    Which images are drawn is up to chance alone, which are dropped to the load: neither knows
    who is right.
    """

    def __init__(self, recorder: Recorder, image_cipher: ImageCipher, versions: CardCache) -> None:
        self._recorder = recorder
        self._cipher = image_cipher
        self._versions = versions
        self._tasks: set[asyncio.Task[None]] = set()

    def maybe_keep(
        self,
        review: ReviewSampling | None,
        pair: ShadowPair,
        image: InputImage,
        labels: Collection[str],
    ) -> None:
        """Keep an image that was copied, if chance and the rule's `review` say so; returns at
        once.

        One that stable did not answer, or that the candidate answered itself, compares nothing.

        Args:
            labels: Those that the candidate knows.
        """
        if review is None or pair.live_label is None or pair.live_version == pair.candidate:
            return
        agree = pair.live_label == pair.label
        probability = review.agreements if agree else review.disagreements
        if random.random() >= probability:  # noqa: S311 no secret
            return
        if len(self._tasks) >= PLACES:
            self._recorder.kept.drop()
            return
        # A context of its own: Serve cancels what a request started when its client hangs up.
        task = asyncio.get_running_loop().create_task(
            self._keep(review, pair, probability, image, labels), context=contextvars.Context()
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Drop what is in the making."""
        await asyncio.sleep(0)  # a task that is cancelled before it began would count nothing
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(
        self,
        review: ReviewSampling,
        pair: ShadowPair,
        probability: float,
        image: InputImage,
        labels: Collection[str],
    ) -> None:
        try:
            digest, encrypted = await asyncio.get_running_loop().run_in_executor(
                ENCODER, self._encrypted, image
            )
            stable = self._versions.card(pair.live_version or "")
        except BaseException as exc:
            self._recorder.kept.drop()
            if not isinstance(exc, Exception):
                raise
            logger.exception("image.not_kept")
        else:
            self._recorder.record_kept(
                KeptImage(
                    writer=pair.writer,
                    sequence=pair.sequence,
                    at_ms=pair.at_ms,
                    rule_id=pair.rule_id,
                    region=pair.region,
                    expires_at_ms=pair.at_ms + review.for_ms,
                    room=review.keep,
                    probability=probability,
                    digest=digest,
                    stable=stable.version,
                    live_label=pair.live_label or "",
                    candidate=pair.candidate,
                    label=pair.label or "",
                    labels=tuple(sorted({*stable.labels, *labels})),
                    encrypted=encrypted,
                )
            )
        del image  # it may be large
        await asyncio.sleep(PLACE_S)

    def _encrypted(self, image: InputImage) -> tuple[str, bytes]:
        """In a thread: the image's digest, and a small one of it."""
        preview = self._cipher.encrypt(image.preview(LONGEST_SIDE))
        return self._cipher.digest(image.content()), preview
