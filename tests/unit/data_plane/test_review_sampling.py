"""Which copied images are kept, what becomes of them, and that no answer notices."""

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
from serve_app.domain import Context, Exposure, KeptImage, Pool, ShadowPair
from tests.unit.data_plane.test_mirror import ANYBODY, Drawn, ask, classify
from tests.unit.recording.fakes import until
from tests.unit.service import SHADOW, Service, image

CAT, DOG, KOALA = image("cat"), image("dog"), image("koala")
ALL: dict[str, Any] = {"review": {"agreements": 1.0}}


def reviewed(service: Service, **review: Any) -> None:
    """A shadow whose candidate answers, that keeps images; by default each disagreement."""
    service.try_out(**SHADOW, review={"agreements": 0.0} | review)


async def settle(service: Service) -> None:
    """Until every copy has its outcome and every place is free again."""
    await until(lambda: service.plane.mirror.in_flight == 0)
    await asyncio.sleep(review_sampling.PLACE_S + 1)


def kept(service: Service, *images: bytes, context: Context = ANYBODY) -> Any:
    """What was kept of requests of one image each."""

    async def asked() -> None:
        for one in images:
            await classify(service, one, context=context)
            await settle(service)

    service.run(asked())
    return service.kept()


def facts(image: KeptImage, pair: ShadowPair) -> None:
    for name in ("writer", "sequence", "at_ms", "rule_id", "region", "candidate", "label"):
        assert getattr(image, name) == getattr(pair, name)
    assert (image.stable, image.live_label) == (pair.live_version, pair.live_label)


def shown(service: Service, image: KeptImage) -> Image.Image:
    return Image.open(BytesIO(service.image_cipher.decrypt(image.encrypted)))


def jpeg(width: int, height: int, **options: Any) -> bytes:
    content = BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(content, "JPEG", **options)
    return content.getvalue()


class TestWhatIsKept:
    def test_without_being_asked_for_nothing_is(self, service: Service) -> None:
        service.try_out(**SHADOW)
        assert kept(service, KOALA, CAT) == []
        assert len(service.pairs()) == 2

    def test_a_disagreement_is_with_what_both_said_and_how_probable_it_was(
        self, service: Service
    ) -> None:
        reviewed(service, keep=7, **{"for": "2h"})
        (one,) = kept(service, KOALA, context=Context("r-1", region="AU"))
        (pair,) = service.pairs()
        facts(one, pair)
        assert (one.label, one.candidate, one.stable, one.region) == ("koala", "v2", "v1", "AU")
        assert one.live_label in ("cat", "dog")
        assert one.labels == ("cat", "dog", "koala")
        assert (one.probability, one.room) == (1.0, 7)
        assert one.expires_at_ms - one.at_ms == 7_200_000

    def test_kinds_are_drawn_each_with_its_own_probability(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reviewed(service, disagreements=0.75, agreements=0.25)
        drawn = Drawn(0.0)
        monkeypatch.setattr(review_sampling, "random", drawn)

        async def asked() -> None:
            for number in (0.2, 0.25, 0.7, 0.75):
                drawn.number = number
                for one in (KOALA, CAT):
                    await classify(service, one)
                    await settle(service)

        service.run(asked())
        found = [(one.label, one.live_label, one.probability) for one in service.kept()]
        assert [label for label, _, _ in found] == ["koala", "cat", "koala", "koala"]
        assert [p for _, _, p in found] == [0.75, 0.25, 0.75, 0.75]
        assert found[1][1] == "cat"

    def test_the_shares_are_those_of_the_rule(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("random.random", np.random.default_rng(5).random)
        monkeypatch.setattr(review_sampling, "PLACES", 10_000)
        service.try_out(**SHADOW, max_in_flight=256, review={"disagreements": 0.3})

        async def crowd() -> None:
            for _ in range(200):
                await classify(service, KOALA)
            await settle(service)

        service.run(crowd())
        assert Counter(pair.outcome for pair in service.pairs()) == {"copied": 200}
        low, high = stats.binom.interval(0.999, 200, 0.3)
        assert low <= service.recorder.kept.recorded <= high

    def test_each_image_of_a_request_has_a_chance_of_its_own(self, service: Service) -> None:
        reviewed(service)
        service.run(_at_once(service, CAT, KOALA, DOG))
        (one,) = service.kept()
        assert (one.label, one.sequence) == ("koala", 2)
        assert one.digest == service.image_cipher.digest(KOALA)

    @pytest.mark.parametrize("fate", [RuntimeError("?"), TimeoutError()])
    def test_what_was_not_copied_is_not(self, service: Service, fate: Exception) -> None:
        reviewed(service, agreements=1.0)
        service.pools.fates["v2"] = fate
        assert kept(service, KOALA) == []

    def test_what_stable_did_not_answer_is_not(self, service: Service) -> None:
        reviewed(service, agreements=1.0)
        service.pools.fates["v1"] = RuntimeError("?")

        async def asked() -> None:
            with pytest.raises(RuntimeError):
                await classify(service)
            await settle(service)

        service.run(asked())
        assert [pair.outcome for pair in service.pairs()] == ["copied"]
        assert service.kept() == []

    def test_what_the_candidate_answered_itself_is_not(self, service: Service) -> None:
        """As while the stable pool is updated to it: there it agrees with itself."""
        service.try_out(**SHADOW, **ALL)
        service.pools.assigned[Pool.STABLE] = "v2"
        assert kept(service, KOALA) == []
        assert [pair.live_version for pair in service.pairs()] == ["v2"]


class TestTheImage:
    def test_it_is_a_small_jpeg_of_all_of_it(self, service: Service) -> None:
        reviewed(service, **ALL["review"])
        wide, small = jpeg(1200, 300), jpeg(90, 30)
        found = {one.digest: shown(service, one) for one in kept(service, wide, small)}
        assert found[service.image_cipher.digest(wide)].size == (256, 64)
        assert found[service.image_cipher.digest(small)].size == (90, 30)
        assert {one.format for one in found.values()} == {"JPEG"}

    def test_it_says_nothing_of_where_it_comes_from(self) -> None:
        exif = Image.Exif()
        exif[Base.Make], exif[Base.Orientation] = "a camera", 6
        data = jpeg(80, 40, exif=exif, comment=b"at home", icc_profile=b"a profile", dpi=(96, 96))
        assert b"a camera" in data
        assert b"at home" in data
        preview = EncodedImage(data).preview(256)
        assert not any(word in preview for word in (b"camera", b"home", b"profile", b"Exif"))
        assert Image.open(BytesIO(preview)).size == (40, 80)  # upright

    @pytest.mark.parametrize("scaled", [False, True])
    def test_raw_values_become_one_too(self, scaled: bool) -> None:
        values = np.full((30, 60, 3), 0.5 if scaled else 127.0)
        one = RawImage(values, scaled=scaled)
        shown = Image.open(BytesIO(one.preview(32)))
        assert shown.size == (32, 16)
        assert np.asarray(shown).mean() == pytest.approx(127.5, abs=2)
        assert one.content() != RawImage(values.reshape(60, 30, 3), scaled=scaled).content()

    def test_nothing_of_it_is_readable_on_its_way(self, service: Service) -> None:
        """What cannot be delivered waits on disk."""
        reviewed(service)
        (one,) = kept(service, KOALA)
        preview = service.image_cipher.decrypt(one.encrypted)
        assert preview[:3] == b"\xff\xd8\xff"
        assert preview[:3] not in one.encrypted
        assert preview[-40:] not in one.encrypted


class TestNoAnswerNotices:
    def test_the_answer_is_there_before_the_image_is_made(self, service: Service) -> None:
        reviewed(service)

        async def asked() -> None:
            await classify(service, KOALA)
            assert service.recorder.kept.recorded == 0
            await settle(service)
            assert service.recorder.kept.recorded == 1

        service.run(asked())

    def test_a_few_a_second_are_kept_and_the_others_counted(self, service: Service) -> None:
        reviewed(service)

        async def crowd() -> None:
            for _ in range(2):
                for _ in range(review_sampling.PLACES + 3):
                    await classify(service, KOALA)
                await settle(service)

        service.run(crowd())
        counts = service.recorder.kept
        assert (counts.recorded, counts.dropped) == (2 * review_sampling.PLACES + 6, 6)
        assert len(service.kept()) == 2 * review_sampling.PLACES

    def test_an_image_that_cannot_be_made_is_counted_and_told(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        reviewed(service)

        def fail(self: EncodedImage, longest: int) -> bytes:
            raise MemoryError

        monkeypatch.setattr(EncodedImage, "preview", fail)
        assert kept(service, KOALA) == []
        assert (service.recorder.kept.dropped, len(service.pairs())) == (1, 1)
        assert [record.message for record in caplog.records] == ["image.not_kept"]

    def test_what_is_in_the_making_at_the_end_is_dropped(self, service: Service) -> None:
        reviewed(service)

        async def ended() -> None:
            await classify(service, KOALA)
            await until(lambda: service.plane.mirror.in_flight == 0)
            await service.plane.mirror.close()

        service.run(ended())
        assert service.recorder.kept.recorded == 1
        assert len(service.kept()) == 1 - service.recorder.kept.dropped

    def test_the_answers_are_those_of_a_shadow_that_keeps_nothing(self, service: Service) -> None:
        def answers() -> list[Any]:
            return [
                (p.answer.version, p.answer.best(0))
                for p in (ask(service, CAT), ask(service, KOALA))
            ]

        service.try_out(**SHADOW)
        plain = answers()
        reviewed(service, agreements=1.0)
        assert answers() == plain
        assert {_reason(one) for one in service.exposures()} == {("static", "v1", None)}


def _reason(exposure: Exposure) -> tuple[str, str | None, str | None]:
    return exposure.reason, exposure.served, exposure.error


async def _at_once(service: Service, *images: bytes) -> None:
    await classify(service, *images)
    await settle(service)
