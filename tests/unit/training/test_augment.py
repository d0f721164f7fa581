from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torch import Generator, Tensor
from torch.nn import functional

from training import augment
from training.data import STORED_SIDE, Images

pytestmark = pytest.mark.slow


def images(*images: Image.Image) -> Images:
    """Images in the form that training stores, resized to squares."""
    squares = [image.resize((STORED_SIDE, STORED_SIDE)) for image in images]
    return Images(
        torch.from_numpy(np.stack([np.asarray(square) for square in squares])).permute(0, 3, 1, 2),
        torch.tensor([image.width / image.height for image in images]),
        torch.zeros(len(images), dtype=torch.int64),
    )


def noise(count: int = 6) -> Images:
    rng = np.random.default_rng(0)
    sizes = [(64, 64), (120, 60), (60, 120)]
    return images(
        *(Image.fromarray(rng.integers(0, 256, (*sizes[n % 3], 3), np.uint8)) for n in range(count))
    )


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


@pytest.fixture
def only_geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable blur, erasing and colour changes."""
    for name in ("BLUR_SHARE", "ERASED_SHARE", "GREY_SHARE", "JITTER", "TINT"):
        monkeypatch.setattr(augment, name, 0.0)


class TestViews:
    @pytest.mark.parametrize("side", [32, 48, 80, 96, 160])
    def test_a_batch_has_the_requested_side(self, side: int) -> None:
        batch = augment.random_views(noise(), torch.tensor([5, 0, 0, 2]), side, seeded(0))
        assert batch.shape == (4, 3, side, side)
        assert batch.dtype == torch.float32
        assert batch.is_contiguous(memory_format=torch.channels_last)

    @pytest.mark.parametrize("seed", range(8))
    def test_pixels_stay_in_range(self, seed: int) -> None:
        batch = augment.random_views(noise(), torch.arange(6).repeat(8), 48, seeded(seed))
        assert batch.isfinite().all()
        assert batch.min() >= 0
        assert batch.max() <= 255

    @pytest.mark.parametrize("side", [48, 96])
    def test_the_same_generator_gives_the_same_views(self, side: int) -> None:
        source, rows = noise(), torch.arange(6)
        one, again, other = (augment.random_views(source, rows, side, seeded(s)) for s in (3, 3, 4))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)

    def test_the_global_random_state_is_not_used(self) -> None:
        before = torch.get_rng_state()
        batch = augment.random_views(noise(), torch.arange(6), 48, seeded(0))
        augment.mix(batch, functional.one_hot(torch.arange(6)).float(), seeded(0))
        assert torch.equal(torch.get_rng_state(), before)

    def test_views_of_one_image_differ(self) -> None:
        batch = augment.random_views(noise(), torch.zeros(5, dtype=torch.int64), 48, seeded(0))
        assert len(torch.unique(batch.flatten(1), dim=0)) == 5

    def test_the_stored_images_are_not_modified(self) -> None:
        source = noise()
        before = source.pixels.clone()
        augment.random_views(source, torch.arange(6), 160, seeded(0))
        assert torch.equal(source.pixels, before)

    @pytest.mark.usefixtures("only_geometry")
    def test_a_uniform_image_stays_uniform(self) -> None:
        """No crop shows pixels outside the image."""
        source = images(Image.new("RGB", (90, 60), (200, 40, 120)))
        batch = augment.random_views(source, torch.zeros(40, dtype=torch.int64), 48, seeded(0))
        expected = torch.tensor([200.0, 40, 120]).view(1, 3, 1, 1).expand_as(batch)
        torch.testing.assert_close(batch, expected, atol=0.01, rtol=0)


def disc(width: int, height: int) -> Image.Image:
    """A white disc on black, with a smooth edge."""
    radius = 0.16 * min(width, height)
    image = Image.new("RGB", (4 * width, 4 * height))
    box = [4 * (centre + sign * radius) for sign in (-1, 1) for centre in (width / 2, height / 2)]
    ImageDraw.Draw(image).ellipse(box, "white")
    return image.resize((width, height), Image.Resampling.BOX)


def half_axes(view: Tensor) -> tuple[float, float]:
    """Half axes of the bright ellipse in a view, px; the shorter one first."""
    light = (view.mean(dim=0).double() / 255).flatten()
    side = view.shape[-1]
    points = torch.cartesian_prod(torch.arange(side), torch.arange(side)).double().T
    spread = torch.linalg.eigvalsh(torch.cov(points, correction=0, aweights=light))
    shorter, longer = (
        2 * spread.sqrt()
    ).tolist()  # the standard deviation of a disc is half its radius
    return shorter, longer


@cache
def visible_disc_half_axes(width: int, height: int) -> list[tuple[float, float]]:
    """Half axes of the disc in those of 400 views that show the whole disc."""
    batch = augment.random_views(
        images(disc(width, height)), torch.zeros(400, dtype=torch.int64), 96, seeded(1)
    )
    lit = batch.mean(dim=1) > 1
    border = lit[:, 0].any(1) | lit[:, -1].any(1) | lit[:, :, 0].any(1) | lit[:, :, -1].any(1)
    return [half_axes(view) for view in batch[lit.flatten(1).any(1) & ~border]]


@pytest.mark.usefixtures("only_geometry")
class TestGeometry:
    @pytest.mark.parametrize(("width", "height"), [(300, 300), (600, 300), (300, 600), (900, 300)])
    def test_the_stretch_is_within_bounds_for_any_image_shape(
        self, width: int, height: int
    ) -> None:
        """Within the bounds plus 3 % for the finite pixel size."""
        ratios = [longer / shorter for shorter, longer in visible_disc_half_axes(width, height)]
        assert len(ratios) > 40
        assert max(ratios) <= max(augment.STRETCH[1], 1 / augment.STRETCH[0]) * 1.03
        assert min(ratios) < 1.05  # some are not stretched

    @pytest.mark.parametrize(("width", "height"), [(300, 300), (600, 300), (300, 600)])
    def test_the_crop_area_is_within_bounds(self, width: int, height: int) -> None:
        """Area of the disc in the largest square, divided by its area in the view."""
        in_square = (0.16 * 96) ** 2
        shares = [
            in_square / (shorter * longer)
            for shorter, longer in visible_disc_half_axes(width, height)
        ]
        low, high = augment.CROP_AREA
        assert low * 0.95 <= min(shares)
        assert max(shares) <= high * 1.05
        assert max(shares) - min(shares) > 0.4

    @pytest.mark.parametrize(("width", "height"), [(300, 300), (600, 300), (300, 600)])
    def test_crops_cover_the_whole_image(self, width: int, height: int) -> None:
        """Red increases to the right, green downwards."""
        across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
        ramp = np.stack([across, down, np.zeros_like(across)], axis=-1).astype(np.uint8)
        source = images(Image.fromarray(ramp))
        batch = augment.random_views(source, torch.zeros(300, dtype=torch.int64), 48, seeded(2))
        for channel in (0, 1):
            centres = batch[:, channel].mean(dim=(1, 2))
            assert centres.min() < 100
            assert centres.max() > 155
            assert abs(centres.mean() - 127.5) < 10

    def test_half_of_the_views_are_mirrored_and_none_is_flipped_vertically(self) -> None:
        across, down = np.meshgrid(np.linspace(0, 255, 300), np.linspace(0, 255, 300))
        ramp = np.stack([across, down, np.zeros_like(across)], axis=-1).astype(np.uint8)
        batch = augment.random_views(
            images(Image.fromarray(ramp)), torch.zeros(300, dtype=torch.int64), 48, seeded(3)
        )
        rightwards = batch[:, 0, :, -8:].mean(dim=(1, 2)) > batch[:, 0, :, :8].mean(dim=(1, 2))
        downwards = batch[:, 1, -8:].mean(dim=(1, 2)) > batch[:, 1, :8].mean(dim=(1, 2))
        assert 0.4 < rightwards.float().mean() < 0.6
        assert downwards.all()


class TestColours:
    def test_a_share_of_the_views_is_grey(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("ERASED_SHARE", "TINT"):
            monkeypatch.setattr(augment, name, 0.0)
        source = images(Image.new("RGB", (60, 60), (200, 40, 120)))
        batch = augment.random_views(source, torch.zeros(400, dtype=torch.int64), 32, seeded(0))
        grey = (batch.amax(dim=1) - batch.amin(dim=1)).amax(dim=(1, 2)) < 0.01
        assert abs(grey.float().mean() - augment.GREY_SHARE) < 0.04

    def test_brightness_varies_in_both_directions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(augment, "ERASED_SHARE", 0.0)
        source = images(Image.new("RGB", (60, 60), (100, 100, 100)))
        batch = augment.random_views(source, torch.zeros(400, dtype=torch.int64), 32, seeded(0))
        light = batch.mean(dim=(1, 2, 3)) / 100
        highest = (1 + augment.JITTER) * (1 + augment.TINT)
        assert 1 - augment.JITTER - augment.TINT <= light.min() < 0.8
        assert 1.2 < light.max() <= highest

    def test_a_rectangle_is_erased_from_a_share_of_the_views(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("BLUR_SHARE", "GREY_SHARE", "JITTER", "TINT"):
            monkeypatch.setattr(augment, name, 0.0)
        side = 40
        source = images(Image.new("RGB", (60, 60), (0, 0, 0)))
        batch = augment.random_views(source, torch.zeros(400, dtype=torch.int64), side, seeded(0))
        erased = [view.amax(dim=0) > 0.5 for view in batch if view.max() > 0.5]
        assert abs(len(erased) / 400 - augment.ERASED_SHARE) < 0.06
        low, high = (math.floor(share * side) for share in augment.ERASED_SIDE)
        for hole in erased:
            height, width = int(hole.any(dim=1).sum()), int(hole.any(dim=0).sum())
            assert low <= min(height, width)
            assert max(height, width) <= high
            assert int(hole.sum()) == height * width


class TestMix:
    @settings(deadline=None, derandomize=True, max_examples=100)
    @given(seed=st.integers(0, 10_000), count=st.integers(1, 9), side=st.sampled_from([16, 33]))
    def test_targets_sum_to_one(self, seed: int, count: int, side: int) -> None:
        generator = seeded(seed)
        batch = torch.rand(count, 3, side, side, generator=generator) * 255
        targets = functional.one_hot(torch.arange(count) % 3, 3).float()
        blended, shares = augment.mix(batch, targets, generator)
        assert blended.shape == batch.shape
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(count))
        assert blended.min() >= 0
        assert blended.max() <= 255
        assert (shares >= 0).all()

    def test_the_target_equals_the_visible_share_of_each_image(self) -> None:
        """Images of class 0 are black, those of class 1 white."""
        targets = functional.one_hot(torch.arange(8) % 2).float()
        batch = (targets[:, 1] * 255).view(8, 1, 1, 1).expand(8, 3, 32, 32).contiguous()
        for seed in range(60):
            blended, shares = augment.mix(batch, targets, seeded(seed))
            seen = blended.mean(dim=(1, 2, 3)) / 255
            torch.testing.assert_close(seen, shares[:, 1], atol=1e-4, rtol=0)

    def test_the_first_image_keeps_the_larger_share(self) -> None:
        targets = functional.one_hot(torch.arange(8)).float()
        for seed in range(60):
            _, shares = augment.mix(torch.zeros(8, 3, 32, 32), targets, seeded(seed))
            assert (shares.diag() >= 0.49).all()

    def test_the_configured_share_of_batches_is_mixed_half_by_mixup_half_by_cutmix(self) -> None:
        targets = functional.one_hot(torch.arange(8)).float()
        batch = torch.arange(8).float().view(8, 1, 1, 1).expand(8, 3, 32, 32).contiguous()
        kinds = {"unchanged": 0, "mixup": 0, "cutmix": 0}
        for seed in range(400):
            blended, _ = augment.mix(batch, targets, seeded(seed))
            if torch.equal(blended, batch):
                kinds["unchanged"] += 1
            elif (blended == blended.round()).all():  # each pixel comes from one image
                kinds["cutmix"] += 1
            else:
                kinds["mixup"] += 1
        assert abs(kinds["unchanged"] / 400 - (1 - augment.MIXED_SHARE)) < 0.08
        assert abs(kinds["mixup"] - kinds["cutmix"]) < 50

    def test_the_input_batch_is_not_modified(self) -> None:
        batch, targets = torch.rand(8, 3, 32, 32), functional.one_hot(torch.arange(8)).float()
        before = batch.clone()
        for seed in range(20):
            augment.mix(batch, targets, seeded(seed))
        assert torch.equal(batch, before)
        assert torch.equal(targets, torch.eye(8))
