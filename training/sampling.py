"""Random selection of the images of an epoch."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from training.data import Images


def draw_rows(images: Images, count: int, balance: float, generator: Generator) -> Tensor:
    """Draw about `count` rows, with classes in proportion to size ** balance.

    Within a class, no image is drawn again before all were drawn.

    Returns:
        int64 [n] rows in random order; n may differ from `count` by rounding.
    """
    sizes = torch.bincount(images.targets)
    shares = torch.where(sizes > 0, sizes.double() ** balance, 0.0)
    quotas = (count * shares / shares.sum()).round().long()
    rows = [
        _cycle_rows(torch.nonzero(images.targets == target).flatten(), int(quota), generator)
        for target, quota in enumerate(quotas)
        if quota
    ]
    drawn = torch.cat(rows) if rows else torch.empty(0, dtype=torch.int64)
    return drawn[torch.randperm(len(drawn), generator=generator)]


def _cycle_rows(rows: Tensor, count: int, generator: Generator) -> Tensor:
    rounds = -(-count // len(rows))
    shuffled = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(rounds)]
    return torch.cat(shuffled)[:count]
