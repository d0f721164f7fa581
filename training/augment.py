"""Random views of training images, a whole batch at a time.

All chance comes from the generator that is passed in. One affine grid does cropping, scaling,
stretching, turning and mirroring, so that an image is resampled once.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.data import Images

CROP_AREA = (0.35, 1.0)  # share of the image's largest square
STRETCH = (0.80, 1.25)  # width / height of the crop
TURN_DEG = 15.0
LIGHT = 0.3  # brightness, contrast and saturation are multiplied by 1 - LIGHT .. 1 + LIGHT
TINT = 0.08  # each colour channel is multiplied by 1 - TINT .. 1 + TINT
GREY_SHARE = 0.08
BLUR_SHARE = 0.15
ERASED_SHARE = 0.15
ERASED_SIDE = (0.15, 0.4)  # share of the side
MIXED_SHARE = 0.4  # of batches: half of them mixup, half cutmix


def views(images: Images, rows: Tensor, side: int, chance: Generator) -> Tensor:
    """Random crops of the images `rows`, recoloured, some blurred or partly erased.

    Returns:
        float32 [len(rows), 3, side, side], 0 .. 255, channels last in memory.
    """
    pixels = images.pixels[rows].float().contiguous(memory_format=torch.channels_last)
    if pixels.shape[-1] >= 2 * side:
        pixels = functional.avg_pool2d(pixels, 2)  # else the grid would skip pixels
    grid = functional.affine_grid(
        _crops(images.aspects[rows], chance), [len(rows), 3, side, side], align_corners=False
    )
    batch = functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    batch = _recolour(batch, chance)
    batch = _blur(batch, chance)
    return _erase(batch, chance).contiguous(memory_format=torch.channels_last)


def mix(batch: Tensor, targets: Tensor, chance: Generator) -> tuple[Tensor, Tensor]:
    """Blend some batches with themselves in another order, pixels and targets alike.

    mixup: Zhang et al., ICLR 2018; cutmix: Yun et al., ICCV 2019.

    Args:
        batch: [n, 3, side, side].
        targets: [n, classes], shares that sum to 1.
    """
    draw = float(_uniform(1, (0, 1), chance))
    if draw >= MIXED_SHARE:
        return batch, targets
    order = torch.randperm(len(batch), generator=chance)
    kept = float(_uniform(1, (0.5, 1), chance))  # share of the first image
    if draw < MIXED_SHARE / 2:
        blended = batch * kept + batch[order] * (1 - kept)
    else:
        side = batch.shape[-1]
        hole = round(side * math.sqrt(1 - kept))
        top, left = (int(_uniform(1, (0, side - hole + 1), chance)) for _ in range(2))
        blended = batch.clone()
        patch = (..., slice(top, top + hole), slice(left, left + hole))
        blended[patch] = batch[order][patch]
        kept = 1 - hole**2 / side**2
    return blended, targets * kept + targets[order] * (1 - kept)


def _uniform(count: int, bounds: tuple[float, float], chance: Generator) -> Tensor:
    low, high = bounds
    return torch.rand(count, generator=chance) * (high - low) + low


def _crops(aspects: Tensor, chance: Generator) -> Tensor:
    """[n, 2, 3] affine maps from the crop to the squeezed image, both in -1 .. 1."""
    n = len(aspects)
    edge = _uniform(n, CROP_AREA, chance).sqrt()
    stretch = _uniform(n, (math.log(STRETCH[0]), math.log(STRETCH[1])), chance).mul(0.5).exp()
    width, height = edge * stretch, edge / stretch  # shares of the image's shorter side
    mirrored = torch.randint(0, 2, (n,), generator=chance) * 2 - 1
    turn = torch.deg2rad(_uniform(n, (-TURN_DEG, TURN_DEG), chance))
    # The squeeze: how much of the image's width and height its shorter side is.
    squeeze_x, squeeze_y = 1 / aspects.clamp(min=1), aspects.clamp(max=1)
    # How far the crop may move without leaving the image.
    x = _uniform(n, (-1, 1), chance) * (1 - width * squeeze_x).clamp(min=0)
    y = _uniform(n, (-1, 1), chance) * (1 - height * squeeze_y).clamp(min=0)
    across = [turn.cos() * width * mirrored * squeeze_x, -turn.sin() * height * squeeze_x, x]
    down = [turn.sin() * width * mirrored * squeeze_y, turn.cos() * height * squeeze_y, y]
    return torch.stack([torch.stack(across, dim=1), torch.stack(down, dim=1)], dim=1)


def _recolour(batch: Tensor, chance: Generator) -> Tensor:
    n = len(batch)
    brightness, contrast, saturation = (
        _uniform(n, (1 - LIGHT, 1 + LIGHT), chance).view(n, 1, 1, 1) for _ in range(3)
    )
    saturation[torch.rand(n, generator=chance) < GREY_SHARE] = 0
    tint = _uniform(3 * n, (1 - TINT, 1 + TINT), chance).view(n, 3, 1, 1)
    grey = batch.mean(dim=1, keepdim=True)
    batch = grey + (batch - grey) * saturation
    middle = grey.mean(dim=(2, 3), keepdim=True)
    batch = middle + (batch - middle) * contrast
    return (batch * brightness * tint).clamp_(0, 255)


def _blur(batch: Tensor, chance: Generator) -> Tensor:
    chosen = torch.rand(len(batch), generator=chance) < BLUR_SHARE
    if chosen.any():
        small = functional.avg_pool2d(batch[chosen], 2)
        batch[chosen] = functional.interpolate(small, size=batch.shape[-2:], mode="bilinear")
    return batch


def _erase(batch: Tensor, chance: Generator) -> Tensor:
    side = batch.shape[-1]
    for row in torch.nonzero(torch.rand(len(batch), generator=chance) < ERASED_SHARE).flatten():
        height, width = (int(v) for v in side * _uniform(2, ERASED_SIDE, chance))
        top = int(_uniform(1, (0, side - height), chance))
        left = int(_uniform(1, (0, side - width), chance))
        batch[row, :, top : top + height, left : left + width] = _uniform(3, (0, 255), chance).view(
            3, 1, 1
        )
    return batch
