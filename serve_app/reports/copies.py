"""The copies of a shadow, and rates of them with their tolerances."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from serve_app.clock import MINUTE_MS
from serve_app.evidence.confidence import Rate
from serve_app.evidence.copies import Copies, Load, WeightedRate
from serve_app.evidence.tolerance import Tolerated, ToleratedRate, compare_with_tolerance
from serve_app.evidence.units import sum_by_code
from serve_app.evidence.verdict import format_share
from serve_app.recording.records import CopyOutcome
from serve_app.reports.experiment import Experiment
from serve_app.reports.parts import INLINE
from serve_app.rules.plan import Reason
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.pair_sums import PairCounts


@dataclass(frozen=True, slots=True)
class CopiesRate:
    """A weighted share of copied images; `images` is their number, unweighted."""

    rate: Rate = field(metadata=INLINE)
    images: float

    @classmethod
    def of(cls, rate: WeightedRate) -> CopiesRate:
        return cls(rate.rate, rate.images)


@dataclass(frozen=True, slots=True)
class AssessedRate:
    """A rate and its tolerance.

    Attributes:
        rate: Its `images` are those in the denominator.
    """

    rate: CopiesRate = field(metadata=INLINE)
    tolerated: ToleratedRate = field(metadata=INLINE)

    @classmethod
    def of(cls, rate: CopiesRate, tolerance: float) -> AssessedRate:
        return cls(rate, compare_with_tolerance(rate.rate, tolerance))

    @property
    def more_images(self) -> int | None:
        """About how many more images decide, if their weights and units stay as they are; None if
        `tolerated.more_trials` is."""
        if self.tolerated.more_trials is None:
            return None
        return math.ceil(self.tolerated.more_trials * self.rate.images / self.rate.rate.trials)

    def sentence(self, name: str, *, has_ended: bool = False) -> str:
        """The rate in words.

        Args:
            name: A clause that ends before the rate, such as "copies that failed".
            has_ended: Whether there will be no more images.
        """
        estimate, interval = self.rate.rate.estimate, self.rate.rate.interval
        if estimate is None:
            return f"{name}: not known."
        low, high = format_share(interval.low), format_share(interval.high)
        limit = format_share(self.tolerated.tolerance)
        match self.tolerated.finding:
            case Tolerated.WITHIN:
                finding = f"within the tolerance of {limit}"
            case Tolerated.BEYOND:
                finding = f"beyond the tolerance of {limit}"
            case _:
                finding = f"not decided for the tolerance of {limit}, {self._outlook(has_ended)}"
        return f"{name}: {format_share(estimate)} ({low} to {high}), {finding}."

    def _outlook(self, has_ended: bool) -> str:
        if has_ended:
            return "and the shadow has ended"
        if self.more_images is None:
            return "and no number of images decides at this rate"
        return f"about {int(float(f'{self.more_images:.2g}')):,} more images decide at this rate"


def tried_copies(pairs: PairCounts) -> Copies:
    """The images that were copied, or whose copy failed."""
    tried = pairs.select(~pairs.outcome.equals(CopyOutcome.SHED))
    is_copied = tried.outcome.equals(CopyOutcome.COPIED)
    return Copies(
        minute=tried.minute,
        region=tried.region.texts(),
        stable=tried.live_label.texts(),
        candidate=np.where(is_copied, tried.label.texts(), ""),
        images=tried.pairs.astype(np.float64),
    )


def shadow_load(sums: list[ExposureSum], pairs: PairCounts, shadow: Experiment) -> Load:
    """Exposures and copies by minute. Pinned requests are never copied and do not count."""
    exposures: Counter[int] = Counter()
    expected: dict[int, float] = {}
    for row in sums:
        if row.reason != Reason.PINNED:
            minute = (row.at_ms or 0) // MINUTE_MS
            exposures[minute] += row.exposures
            sample = shadow.weights[row.epoch or 0]
            expected[minute] = expected.get(minute, 0.0) + sample * row.exposures
    minutes = np.union1d(np.array(list(exposures), np.int64), pairs.minute)
    pair_row = np.searchsorted(minutes, pairs.minute)
    by_outcome = {
        outcome: sum_by_code(pair_row, pairs.pairs * pairs.outcome.equals(outcome), len(minutes))
        for outcome in CopyOutcome
    }
    recorded = np.array([exposures[minute] for minute in minutes.tolist()], np.float64)
    return Load(
        minute=minutes,
        # An exposure may be lost while its shadow pair is stored.
        answered=np.maximum(recorded, sum(by_outcome.values())),
        copied=by_outcome[CopyOutcome.COPIED],
        shed=by_outcome[CopyOutcome.SHED],
        failed=by_outcome[CopyOutcome.FAILED],
        expected=np.array([expected.get(minute, 0.0) for minute in minutes.tolist()]),
    )
