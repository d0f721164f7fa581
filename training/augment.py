"""Augmentation of training images, batch by batch.

All randomness comes from the generator passed as an argument. One affine grid combines crop, scale,
stretch, rotation and flip, so that each image is resampled once.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.data import Images

CROP_AREA = (0.35, 1.0)  # share of the area of the image's largest square
STRETCH = (0.80, 1.25)  # width / height of the crop
ROTATION_DEG = 15.0
JITTER = 0.3  # factors 1 - JITTER .. 1 + JITTER for brightness, contrast and saturation
TINT = 0.08  # factor 1 - TINT .. 1 + TINT for each colour channel
GREY_SHARE = 0.08
BLUR_SHARE = 0.15
ERASED_SHARE = 0.15
ERASED_SIDE = (0.15, 0.4)  # share of the side
MIXED_SHARE = 0.4  # of batches: half of them mixup, half cutmix


def random_views(images: Images, rows: Tensor, side: int, generator: Generator) -> Tensor:
    """Random crops of the images `rows` with changed colours; some are blurred or partly erased.

    Returns:
        float32 [len(rows), 3, side, side], 0 .. 255, channels last in memory.
    """
    pixels = images.pixels[rows].float().contiguous(memory_format=torch.channels_last)
    if pixels.shape[-1] >= 2 * side:
        pixels = functional.avg_pool2d(pixels, 2)  # avoids aliasing
    grid = functional.affine_grid(
        _crop_transforms(images.aspects[rows], generator),
        [len(rows), 3, side, side],
        align_corners=False,
    )
    batch = functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    batch = _recolour(batch, generator)
    batch = _blur(batch, generator)
    return _erase(batch, generator).contiguous(memory_format=torch.channels_last)


def mix(batch: Tensor, targets: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Blend a share `MIXED_SHARE` of the batches with a permutation of themselves.

    mixup: Zhang et al., ICLR 2018; cutmix: Yun et al., ICCV 2019.

    Args:
        batch: [n, 3, side, side].
        targets: [n, classes], rows sum to 1.

    Returns:
        The blended batch and targets, of the same shapes.
    """
    draw = float(_uniform(1, (0, 1), generator))
    if draw >= MIXED_SHARE:
        return batch, targets
    order = torch.randperm(len(batch), generator=generator)
    kept = float(_uniform(1, (0.5, 1), generator))  # share of the first image
    if draw < MIXED_SHARE / 2:
        blended = batch * kept + batch[order] * (1 - kept)
    else:
        side = batch.shape[-1]
        hole = round(side * math.sqrt(1 - kept))
        top, left = (int(_uniform(1, (0, side - hole + 1), generator)) for _ in range(2))
        blended = batch.clone()
        patch = (..., slice(top, top + hole), slice(left, left + hole))
        blended[patch] = batch[order][patch]
        kept = 1 - hole**2 / side**2
    return blended, targets * kept + targets[order] * (1 - kept)


def _uniform(count: int, bounds: tuple[float, float], generator: Generator) -> Tensor:
    low, high = bounds
    return torch.rand(count, generator=generator) * (high - low) + low


def _crop_transforms(aspects: Tensor, generator: Generator) -> Tensor:
    """Affine maps [n, 2, 3] from the crop to the squeezed image, both in -1 .. 1."""
    n = len(aspects)
    edge = _uniform(n, CROP_AREA, generator).sqrt()
    stretch = _uniform(n, (math.log(STRETCH[0]), math.log(STRETCH[1])), generator).mul(0.5).exp()
    width, height = edge * stretch, edge / stretch  # shares of the image's shorter side
    mirrored = torch.randint(0, 2, (n,), generator=generator) * 2 - 1
    angle = torch.deg2rad(_uniform(n, (-ROTATION_DEG, ROTATION_DEG), generator))
    # Squeeze: shorter side of the image as a share of its width and height.
    squeeze_x, squeeze_y = 1 / aspects.clamp(min=1), aspects.clamp(max=1)
    # Offset: as far as the crop stays inside the image.
    x = _uniform(n, (-1, 1), generator) * (1 - width * squeeze_x).clamp(min=0)
    y = _uniform(n, (-1, 1), generator) * (1 - height * squeeze_y).clamp(min=0)
    across = [angle.cos() * width * mirrored * squeeze_x, -angle.sin() * height * squeeze_x, x]
    down = [angle.sin() * width * mirrored * squeeze_y, angle.cos() * height * squeeze_y, y]
    return torch.stack([torch.stack(across, dim=1), torch.stack(down, dim=1)], dim=1)


def _recolour(batch: Tensor, generator: Generator) -> Tensor:
    n = len(batch)
    brightness, contrast, saturation = (
        _uniform(n, (1 - JITTER, 1 + JITTER), generator).view(n, 1, 1, 1) for _ in range(3)
    )
    saturation[torch.rand(n, generator=generator) < GREY_SHARE] = 0
    tint = _uniform(3 * n, (1 - TINT, 1 + TINT), generator).view(n, 3, 1, 1)
    grey = batch.mean(dim=1, keepdim=True)
    batch = grey + (batch - grey) * saturation
    mean = grey.mean(dim=(2, 3), keepdim=True)
    batch = mean + (batch - mean) * contrast
    return (batch * brightness * tint).clamp_(0, 255)


def _blur(batch: Tensor, generator: Generator) -> Tensor:
    chosen = torch.rand(len(batch), generator=generator) < BLUR_SHARE
    if chosen.any():
        small = functional.avg_pool2d(batch[chosen], 2)
        batch[chosen] = functional.interpolate(small, size=batch.shape[-2:], mode="bilinear")
    return batch


def _erase(batch: Tensor, generator: Generator) -> Tensor:
    side = batch.shape[-1]
    for row in torch.nonzero(torch.rand(len(batch), generator=generator) < ERASED_SHARE).flatten():
        height, width = (int(v) for v in side * _uniform(2, ERASED_SIDE, generator))
        top = int(_uniform(1, (0, side - height), generator))
        left = int(_uniform(1, (0, side - width), generator))
        batch[row, :, top : top + height, left : left + width] = _uniform(
            3, (0, 255), generator
        ).view(3, 1, 1)
    return batch
