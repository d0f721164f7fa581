"""Whether a rate is within its tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from serve_app.evidence.confidence import ALPHA, Rate, proportion_sequence

MAX_TRIALS = 1e9


class Tolerated(StrEnum):
    """A rate compared with its tolerance."""

    WITHIN = "within"
    BEYOND = "beyond"
    KEEP_GOING = "keep going"  # the interval contains the tolerance
    NOT_KNOWN = "not known"  # there are no trials


@dataclass(frozen=True, slots=True)
class ToleratedRate:
    """Attributes:
    tolerance: The highest tolerated rate, above 0, below 1.
    more_trials: About how many more independent trials decide at the present rate; None if it is
        decided, or if they are too many.
    """

    tolerance: float
    finding: Tolerated
    more_trials: int | None


def compare_with_tolerance(rate: Rate, tolerance: float, alpha: float = ALPHA) -> ToleratedRate:
    """Decide from the always valid interval of a rate."""
    if not rate.trials:
        return ToleratedRate(tolerance, Tolerated.NOT_KNOWN, None)
    if rate.interval.high <= tolerance:
        return ToleratedRate(tolerance, Tolerated.WITHIN, None)
    if rate.interval.low > tolerance:
        return ToleratedRate(tolerance, Tolerated.BEYOND, None)
    return ToleratedRate(tolerance, Tolerated.KEEP_GOING, _more_trials(rate, tolerance, alpha))


def _more_trials(rate: Rate, tolerance: float, alpha: float) -> int | None:
    share = rate.successes / rate.trials

    def decides(trials: float) -> bool:
        return tolerance not in proportion_sequence(share * trials, trials, alpha)

    enough = rate.trials
    while not decides(enough):
        enough *= 2
        if enough > MAX_TRIALS:
            return None
    too_few = enough / 2
    while enough - too_few > max(1.0, enough / 1000):
        middle = (enough + too_few) / 2
        if decides(middle):
            enough = middle
        else:
            too_few = middle
    return max(1, round(enough - rate.trials))
