"""Compares two versions on the same images, by the images on which exactly one is right."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

from serve_app.evidence.confidence import ALPHA, Rate, log_evidence, rate

MAX_DISCORDANT = 1_000_000


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Attributes:
    share: Of the images on which exactly one version is right, the share on which it is the
        candidate.
    p: Of the hypothesis that this share is one half; always valid, so that it may be read after
        every review.
    better: The version that is right more often, if p is below alpha.
    """

    share: Rate
    p: float
    better: Literal["stable", "candidate"] | None


def compare_paired(only_stable: int, only_candidate: int, alpha: float = ALPHA) -> PairedComparison:
    """A sequential McNemar test on discordant images.

    With `confidence.log_evidence` of k = only_candidate in n = only_stable + only_candidate trials
    against a share of 1/2:

        p = min(1, 1 / evidence) = min(1, 2^-n / B(1 + k, 1 + n - k))

    `better` is set if and only if the interval of the share excludes 1/2. Images on which both
    versions are wrong do not enter.

    Assumes that the reviewed images are all disagreements, or a random sample of them, and that
    they are independent: at most one of each unit.

    Args:
        only_stable, only_candidate: Images on which only this version is right.
    """
    share = rate(only_candidate, only_stable + only_candidate, alpha)
    p = min(1.0, math.exp(-log_evidence(only_candidate, only_stable + only_candidate, 0.5)))
    better: Literal["stable", "candidate"] | None = None
    if p < alpha:
        better = "candidate" if only_candidate > only_stable else "stable"
    return PairedComparison(share, p, better)


def discordant_to_decide(share: float, alpha: float = ALPHA) -> int | None:
    """About how many discordant images decide: those at which p is below alpha, if they have this
    share.

    Args:
        share: Of the images on which exactly one version is right, that of one version, 0 to 1.

    Returns:
        At least 1; None if more than `MAX_DISCORDANT` are needed, because the share is about 1/2.
    """

    def is_decided(count: int) -> bool:
        return log_evidence(share * count, count, 0.5) > -math.log(alpha)

    if not is_decided(MAX_DISCORDANT):
        return None
    # The evidence decreases at first, to a minimum below 1, and increases from there.
    return bisect_left(range(1, MAX_DISCORDANT + 1), True, key=is_decided) + 1
