"""Compares two versions on the same images, by the images on which exactly one is right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from serve_app.evidence.confidence import ALPHA, Rate, log_evidence, rate


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

    Assumes that the reviewed images are all disagreements, or a random sample of them.

    Args:
        only_stable, only_candidate: Images on which only this version is right.
    """
    share = rate(only_candidate, only_stable + only_candidate, alpha)
    p = min(1.0, math.exp(-log_evidence(only_candidate, only_stable + only_candidate, 0.5)))
    better: Literal["stable", "candidate"] | None = None
    if p < alpha:
        better = "candidate" if only_candidate > only_stable else "stable"
    return PairedComparison(share, p, better)
