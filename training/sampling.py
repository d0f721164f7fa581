"""Which images an epoch shows, and in what order."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from training.data import Images


def epoch_rows(images: Images, count: int, balance: float, chance: Generator) -> Tensor:
    """Draw about `count` rows so that class c comes up in proportion to size(c) ** balance.

    Within a class every image is shown once before any is shown again.

    Returns:
        int64 [n], in random order; n differs from `count` by rounding.
    """
    sizes = torch.bincount(images.targets)
    shares = torch.where(sizes > 0, sizes.double() ** balance, 0.0)
    quotas = (count * shares / shares.sum()).round().long()
    rows = [
        _cycled(torch.nonzero(images.targets == target).flatten(), int(quota), chance)
        for target, quota in enumerate(quotas)
        if quota
    ]
    drawn = torch.cat(rows) if rows else torch.empty(0, dtype=torch.int64)
    return drawn[torch.randperm(len(drawn), generator=chance)]


def _cycled(rows: Tensor, count: int, chance: Generator) -> Tensor:
    rounds = -(-count // len(rows))
    shuffled = [rows[torch.randperm(len(rows), generator=chance)] for _ in range(rounds)]
    return torch.cat(shuffled)[:count]
