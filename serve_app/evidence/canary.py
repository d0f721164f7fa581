"""Whether the candidate of a canary works: its errors and latencies compared with stable's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from serve_app.evidence.comparison import Comparison, compare
from serve_app.evidence.confidence import ALPHA, Interval
from serve_app.evidence.events import event_interval
from serve_app.evidence.srm import Srm
from serve_app.evidence.units import Flags, Floats, Ints, Rows, Texts, UnitSums, strata
from serve_app.evidence.verdict import Finding, Measure, Verdict, srm_sentence

ERROR_RATE = Measure("error rate", "decrease", 0.01)
MIN_SLOWDOWN = 0.10  # min_effect of latencies, as a share of stable's mean


@dataclass(frozen=True, eq=False)
class CanaryUnits(Rows):
    """Sums of exposures by unit, epoch, day and assigned version; columns of length n.

    Attributes:
        unit, epoch, day: int64 [n].
        region: str [n], empty for none.
        treated: bool [n], True for the candidate.
        exposures, errors: float64 [n].
        latency_ms: float64 [n], the sum over all exposures.
        model_count, model_ms: float64 [n], exposures with a model time, and its sum.
    """

    unit: Ints
    epoch: Ints
    day: Ints
    region: Texts
    treated: Flags
    exposures: Floats
    errors: Floats
    latency_ms: Floats
    model_count: Floats
    model_ms: Floats

    def compare_errors(self, alpha: float = ALPHA) -> tuple[Comparison, Interval]:
        """The error rates of both versions, and the interval of their difference."""
        found = compare(self._sums(self.exposures, self.errors))
        by_epoch = UnitSums(self.unit, self.epoch, self.treated, self.exposures, self.errors)
        return found, event_interval(found, by_epoch, alpha)

    def compare_latency(self) -> Comparison:
        """The mean latencies of both versions, in ms."""
        return compare(self._sums(self.exposures, self.latency_ms))

    def compare_model_time(self) -> Comparison:
        """The mean model times of both versions, in ms."""
        return compare(self._sums(self.model_count, self.model_ms))

    def _sums(self, x: Floats, y: Floats) -> UnitSums:
        return UnitSums(self.unit, self._stratum, self.treated, x, y)

    @cached_property
    def _stratum(self) -> Ints:
        """Days within epochs."""
        return strata(self.epoch, self.day, self.treated)


def latency_measure(name: str, compared: Comparison) -> Measure:
    """The measure of a mean latency in ms; its smallest relevant difference depends on stable's."""
    level_ms = compared.control if compared.control > 0 else 1.0
    return Measure(f"mean {name}", "decrease", MIN_SLOWDOWN * level_ms, "ms")


def decide_canary(findings: Mapping[str, Finding], srm: Srm) -> Verdict:
    """The worst finding of the measures, by name."""
    if srm.is_invalid:
        return Verdict(Finding.INVALID, srm_sentence(srm))
    names: dict[Finding, list[str]] = {}
    for name, finding in findings.items():
        names.setdefault(finding, []).append(name)
    for finding, sentence in (
        (Finding.WORSE, "The candidate is worse than stable"),
        (Finding.KEEP_GOING, "Not decided yet whether the candidate works as well as stable"),
        (Finding.NOT_KNOWN, "Not enough data for every measure"),
    ):
        if finding in names:
            return Verdict(finding, f"{sentence}: see {', '.join(names[finding])}.")
    if better := names.get(Finding.BETTER):
        sentence = f"The candidate works and is better in {', '.join(better)}."
        return Verdict(Finding.BETTER, sentence)
    return Verdict(Finding.NO_DIFFERENCE, "The candidate works as well as stable.")
