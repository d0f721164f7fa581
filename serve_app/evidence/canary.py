"""Whether the candidate of a canary works: its failures and latencies compared with stable's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serve_app.clock import HOUR_MS
from serve_app.evidence.comparison import Comparison, UnitGroups
from serve_app.evidence.confidence import ALPHA
from serve_app.evidence.latency import LatencyLimit
from serve_app.evidence.srm import Srm
from serve_app.evidence.units import Flags, Floats, Ints, Rows, Texts, strata
from serve_app.evidence.verdict import VERSIONS, Finding, Measure, Verdict, srm_sentence

SHARE = (0.0, 1.0)
# A false "worse" needs an error on one side of one of three intervals.
MEASURE_ALPHA = 2 * ALPHA / 3


@dataclass(frozen=True, eq=False)
class CanaryUnits(Rows):
    """Settled units, each once; columns of length n. Sums are over the time that it settled in.

    Attributes:
        at_ms: int64 [n], its first assignment.
        weight: float64 [n], see `settled.Settlement`.
        treated: bool [n], True for the candidate.
        region: str [n], empty for none.
        exposures, errors: float64 [n].
        latency_ms: float64 [n], the sum over all exposures.
        max_latency_ms: float64 [n].
        model_count, model_ms: float64 [n], exposures with a model time, and its sum.
        later_exposures: float64 [n], in a time of the same length after that.
        is_later_known: bool [n], whether this time is over.
    """

    at_ms: Ints
    weight: Floats
    treated: Flags
    region: Texts
    exposures: Floats
    errors: Floats
    latency_ms: Floats
    max_latency_ms: Floats
    model_count: Floats
    model_ms: Floats
    later_exposures: Floats
    is_later_known: Flags

    def compare_failures(self, limit: LatencyLimit | None) -> Comparison:
        """The share of units with a failure: an error, or an answer above `limit.hung_ms`.

        Args:
            limit: None if it is not known; a failure is then an error.
        """
        has_failure = self.errors > 0
        if limit is not None:
            has_failure |= (self.max_latency_ms > limit.hung_ms) & (self.at_ms >= limit.from_ms)
        return self._groups.compare(has_failure, SHARE)

    def compare_latency(self) -> Comparison:
        """The mean over units of each one's mean latency, in ms."""
        return self._compare_means(self.latency_ms, self.exposures)

    def compare_model_time(self) -> Comparison:
        """The mean over units of each one's mean model time, in ms; of units that have one."""
        return self._compare_means(self.model_ms, self.model_count)

    def compare_exposures(self) -> Comparison:
        """The mean number of exposures of a unit."""
        return self._groups.compare(self.exposures)

    def compare_returns(self) -> Comparison:
        """The share of units that came back after they were settled, among those for which this is
        known."""
        known = self.select(self.is_later_known)
        return known._groups.compare(known.later_exposures > 0, SHARE)

    def _compare_means(self, total: Floats, count: Floats) -> Comparison:
        has_value = count > 0
        groups = self.select(has_value)._groups
        return groups.compare(total[has_value] / count[has_value])

    @cached_property
    def _groups(self) -> UnitGroups:
        """Hours of first assignments, among units with the same weight."""
        split = np.unique(self.weight, return_inverse=True)[1]
        stratum = strata(split, self.at_ms // HOUR_MS, self.treated)
        return UnitGroups(stratum, self.treated, np.ones(len(self.treated)))


def failures_measure(tolerance: float) -> Measure:
    """The measure of `CanaryUnits.compare_failures`.

    Args:
        tolerance: A difference of shares.
    """
    return Measure(
        "units with a failure", "decrease", tolerance, arms=VERSIONS, alpha=MEASURE_ALPHA
    )


def latency_measure(name: str, compared: Comparison, tolerance: float) -> Measure:
    """The measure of a mean latency in ms.

    Args:
        tolerance: As a share of stable's mean.
    """
    level_ms = compared.control if compared.control > 0 else 1.0
    return Measure(f"mean {name}", "decrease", tolerance * level_ms, "ms", VERSIONS, MEASURE_ALPHA)


def decide_canary(verdicts: Mapping[str, Verdict], srm: Srm) -> Verdict:
    """The verdict of the measures together: the worst finding, with the first measure that has it.

    Worse is before keep going, not known, better and no difference. With an interval of
    `MEASURE_ALPHA` for each of three measures, a false "worse" has a probability of at most
    `ALPHA`.

    Args:
        verdicts: By measure.
    """
    if srm.is_invalid:
        return Verdict(Finding.INVALID, srm_sentence(srm, VERSIONS))
    for finding in (
        Finding.WORSE,
        Finding.KEEP_GOING,
        Finding.NOT_KNOWN,
        Finding.BETTER,
        Finding.NO_DIFFERENCE,
    ):
        deciding = {name: v for name, v in verdicts.items() if v.finding is finding}
        if deciding:
            break
    first, *others = deciding
    sentence = deciding[first].sentence
    if others:
        sentence = f"{sentence} Also {finding}: {', '.join(others)}."
    return Verdict(finding, sentence, all(v.is_not_worse for v in verdicts.values()))
