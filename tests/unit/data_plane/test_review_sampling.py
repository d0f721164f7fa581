"""Tests of review sampling: which images are kept, their content, and no effect on responses."""

from __future__ import annotations

import asyncio
from collections import Counter
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base
from scipy import stats

from serve_app.data_plane import review_sampling
from serve_app.data_plane.images import EncodedImage, RawImage
from serve_app.recording.records import Exposure, KeptImage, ShadowPair
from serve_app.rules.plan import Context, Pool
from tests.unit.data_plane.test_mirror import (
    ANONYMOUS,
    FixedRandom,
    classify,
    classify_and_settle,
)
from tests.unit.recording.fakes import wait_until
from tests.unit.service import SHADOW, Service, image

CAT, DOG, KOALA = image("cat"), image("dog"), image("koala")
ALL: dict[str, Any] = {"review": {"agreements": 1.0}}


def apply_review_rule(service: Service, **review: Any) -> None:
    """Put a shadow in force that keeps images; by default every disagreement."""
    service.apply_rule_with_candidate(**SHADOW, review={"agreements": 0.0} | review)


async def settle(service: Service) -> None:
    """Wait until every copy has an outcome and every slot is free."""
    await wait_until(lambda: service.plane.mirror.in_flight == 0)
    await asyncio.sleep(review_sampling.SLOT_S + 1)


def send_and_list_kept(service: Service, *images: bytes, context: Context = ANONYMOUS) -> Any:
    """Send one request per image; the kept images."""

    async def send() -> None:
        for one in images:
            await classify(service, one, context=context)
            await settle(service)

    service.run(send())
    return service.kept_images()


def assert_same_fields(image: KeptImage, pair: ShadowPair) -> None:
    for name in ("writer", "sequence", "at_ms", "rule_id", "region", "unit", "candidate", "label"):
        assert getattr(image, name) == getattr(pair, name)
    assert (image.stable, image.live_label) == (pair.live_version, pair.live_label)


def open_preview(service: Service, image: KeptImage) -> Image.Image:
    return Image.open(BytesIO(service.image_cipher.decrypt(image.encrypted)))


def jpeg(width: int, height: int, **options: Any) -> bytes:
    content = BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(content, "JPEG", **options)
    return content.getvalue()


class TestSampling:
    def test_a_rule_without_review_keeps_no_image(self, service: Service) -> None:
        service.apply_rule_with_candidate(**SHADOW)
        assert send_and_list_kept(service, KOALA, CAT) == []
        assert len(service.pairs()) == 2

    def test_a_disagreement_is_kept_with_both_predictions_and_its_probability(
        self, service: Service
    ) -> None:
        apply_review_rule(service, keep=7, **{"for": "2h"})
        (one,) = send_and_list_kept(service, KOALA, context=Context("r-1", "a-user", region="AU"))
        (pair,) = service.pairs()
        assert_same_fields(one, pair)
        assert one.unit == "a-user"
        assert (one.label, one.candidate, one.stable, one.region) == ("koala", "v2", "v1", "AU")
        assert one.live_label in ("cat", "dog")
        assert one.labels == ("cat", "dog", "koala")
        assert (one.probability, one.room) == (1.0, 7)
        assert one.expires_at_ms - one.at_ms == 7_200_000

    def test_agreements_and_disagreements_have_separate_probabilities(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        apply_review_rule(service, disagreements=0.75, agreements=0.25)
        fixed = FixedRandom(0.0)
        monkeypatch.setattr(review_sampling, "random", fixed)

        async def send() -> None:
            for number in (0.2, 0.25, 0.7, 0.75):
                fixed.number = number
                for one in (KOALA, CAT):
                    await classify(service, one)
                    await settle(service)

        service.run(send())
        found = [(one.label, one.live_label, one.probability) for one in service.kept_images()]
        assert [label for label, _, _ in found] == ["koala", "cat", "koala", "koala"]
        assert [p for _, _, p in found] == [0.75, 0.25, 0.75, 0.75]
        assert found[1][1] == "cat"

    def test_the_kept_share_is_that_of_the_rule(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("random.random", np.random.default_rng(5).random)
        monkeypatch.setattr(review_sampling, "SLOTS", 10_000)
        service.apply_rule_with_candidate(
            **SHADOW, max_in_flight=256, review={"disagreements": 0.3}
        )

        async def send_requests() -> None:
            for _ in range(200):
                await classify(service, KOALA)
            await settle(service)

        service.run(send_requests())
        assert Counter(pair.outcome for pair in service.pairs()) == {"copied": 200}
        low, high = stats.binom.interval(0.999, 200, 0.3)
        assert low <= service.recorder.kept.recorded <= high

    def test_each_image_of_a_request_is_sampled_separately(self, service: Service) -> None:
        apply_review_rule(service)
        service.run(_classify_and_settle(service, CAT, KOALA, DOG))
        (one,) = service.kept_images()
        assert (one.label, one.sequence) == ("koala", 2)
        assert one.digest == service.image_cipher.digest(KOALA)

    @pytest.mark.parametrize("override", [RuntimeError("unexpected"), TimeoutError()])
    def test_an_image_of_a_failed_copy_is_not_kept(
        self, service: Service, override: Exception
    ) -> None:
        apply_review_rule(service, agreements=1.0)
        service.pools.overrides["v2"] = override
        assert send_and_list_kept(service, KOALA) == []

    def test_an_image_that_stable_failed_is_not_kept(self, service: Service) -> None:
        apply_review_rule(service, agreements=1.0)
        service.pools.overrides["v1"] = RuntimeError("unexpected")

        async def send() -> None:
            with pytest.raises(RuntimeError):
                await classify(service)
            await settle(service)

        service.run(send())
        assert [pair.outcome for pair in service.pairs()] == ["copied"]
        assert service.kept_images() == []

    def test_an_image_that_the_candidates_version_served_is_not_kept(
        self, service: Service
    ) -> None:
        """During an update of the stable pool to the candidate's version, it agrees with itself."""
        service.apply_rule_with_candidate(**SHADOW, **ALL)
        service.pools.assigned[Pool.STABLE] = "v2"
        assert send_and_list_kept(service, KOALA) == []
        assert [pair.live_version for pair in service.pairs()] == ["v2"]


class TestPreview:
    def test_a_preview_is_a_small_jpeg_of_the_whole_image(self, service: Service) -> None:
        apply_review_rule(service, **ALL["review"])
        wide, small = jpeg(1200, 300), jpeg(90, 30)
        found = {
            one.digest: open_preview(service, one)
            for one in send_and_list_kept(service, wide, small)
        }
        assert found[service.image_cipher.digest(wide)].size == (256, 64)
        assert found[service.image_cipher.digest(small)].size == (90, 30)
        assert {one.format for one in found.values()} == {"JPEG"}

    def test_a_preview_has_no_metadata(self) -> None:
        exif = Image.Exif()
        exif[Base.Make], exif[Base.Orientation] = "a camera", 6
        data = jpeg(80, 40, exif=exif, comment=b"at home", icc_profile=b"a profile", dpi=(96, 96))
        assert b"a camera" in data
        assert b"at home" in data
        preview = EncodedImage(data).preview(256)
        assert not any(text in preview for text in (b"camera", b"home", b"profile", b"Exif"))
        assert Image.open(BytesIO(preview)).size == (40, 80)  # upright

    @pytest.mark.parametrize("scaled", [False, True])
    def test_raw_values_have_a_preview(self, scaled: bool) -> None:
        values = np.full((30, 60, 3), 0.5 if scaled else 127.0)
        one = RawImage(values, scaled=scaled)
        shown = Image.open(BytesIO(one.preview(32)))
        assert shown.size == (32, 16)
        assert np.asarray(shown).mean() == pytest.approx(127.5, abs=2)
        assert one.content() != RawImage(values.reshape(60, 30, 3), scaled=scaled).content()

    def test_a_kept_image_is_encrypted(self, service: Service) -> None:
        """Undelivered images are spooled to disk."""
        apply_review_rule(service)
        (one,) = send_and_list_kept(service, KOALA)
        preview = service.image_cipher.decrypt(one.encrypted)
        assert preview[:3] == b"\xff\xd8\xff"
        assert preview[:3] not in one.encrypted
        assert preview[-40:] not in one.encrypted


class TestLoad:
    def test_the_response_does_not_wait_for_the_preview(self, service: Service) -> None:
        apply_review_rule(service)

        async def send() -> None:
            await classify(service, KOALA)
            assert service.recorder.kept.recorded == 0
            await settle(service)
            assert service.recorder.kept.recorded == 1

        service.run(send())

    def test_images_above_the_rate_limit_are_dropped_and_counted(self, service: Service) -> None:
        apply_review_rule(service)

        async def send_requests() -> None:
            for _ in range(2):
                for _ in range(review_sampling.SLOTS + 3):
                    await classify(service, KOALA)
                await settle(service)

        service.run(send_requests())
        counts = service.recorder.kept
        assert (counts.recorded, counts.dropped) == (2 * review_sampling.SLOTS + 6, 6)
        assert len(service.kept_images()) == 2 * review_sampling.SLOTS

    def test_an_image_that_cannot_be_encoded_is_counted_and_logged(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        apply_review_rule(service)

        def fail(self: EncodedImage, max_side: int) -> bytes:
            raise MemoryError

        monkeypatch.setattr(EncodedImage, "preview", fail)
        assert send_and_list_kept(service, KOALA) == []
        assert (service.recorder.kept.dropped, len(service.pairs())) == (1, 1)
        assert [record.message for record in caplog.records] == ["image_save.failed"]

    def test_images_in_progress_at_close_are_dropped(self, service: Service) -> None:
        apply_review_rule(service)

        async def classify_and_close() -> None:
            await classify(service, KOALA)
            await wait_until(lambda: service.plane.mirror.in_flight == 0)
            await service.plane.mirror.close()

        service.run(classify_and_close())
        assert service.recorder.kept.recorded == 1
        assert len(service.kept_images()) == 1 - service.recorder.kept.dropped

    def test_predictions_do_not_depend_on_review_sampling(self, service: Service) -> None:
        def predictions() -> list[Any]:
            results = (classify_and_settle(service, CAT), classify_and_settle(service, KOALA))
            return [(r.prediction.version, r.prediction.top_label(0)) for r in results]

        service.apply_rule_with_candidate(**SHADOW)
        without_review = predictions()
        apply_review_rule(service, agreements=1.0)
        assert predictions() == without_review
        assert {_summarize(one) for one in service.exposures()} == {("static", "v1", None)}


def _summarize(exposure: Exposure) -> tuple[str, str | None, str | None]:
    return exposure.reason, exposure.served, exposure.error


async def _classify_and_settle(service: Service, *images: bytes) -> None:
    await classify(service, *images)
    await settle(service)
