"""What the versions of a split answered, made comparable."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np

from serve_app.domain import Reason
from serve_app.evidence.units import Flags, Floats
from serve_app.reports.experiment import Experiment
from serve_app.store.exposure_sums import ExposureSum


@dataclass(frozen=True, slots=True, eq=False)
class LabelMix:
    """What each version answered itself, in the hours of the epochs in which both did.

    Hours differ in what is asked, and epochs in their weight: stable's answers of an hour count as
    many as the candidate's of that hour.

    Attributes:
        labels: Those that were answered.
        counts: float64 [hours, 2, labels], of control and of treatment.
        weights: float64 [hours, 2], what an answer counts.
        confidences: float64 [hours, 2], sums.
    """

    labels: list[str]
    counts: Floats
    weights: Floats
    confidences: Floats

    @classmethod
    def of(cls, found: Experiment, sums: list[ExposureSum]) -> LabelMix:
        """Those of sums by epoch and hour."""
        arms = {found.control: 0, found.treatment: 1}
        own = [s for s in sums if _is_own(s) and s.label and s.assigned in arms]
        hours = {key: n for n, key in enumerate(sorted({(s.epoch, s.at_ms) for s in own}))}
        labels = sorted({s.label or "" for s in own})
        counts = np.zeros((len(hours), 2, len(labels)))
        confidences = np.zeros((len(hours), 2))
        for one in own:
            place = hours[one.epoch, one.at_ms], arms[one.assigned or ""]
            counts[*place, labels.index(one.label or "")] += one.exposures
            confidences[place] += one.confidence_sum
        both, weights = weighed(counts)
        return cls(labels, counts[both], weights, confidences[both])

    def told(self, arm: int) -> dict[str, int]:
        """Label to how many."""
        counts = self.counts[:, arm].sum(axis=0).astype(int).tolist()
        return {label: n for label, n in zip(self.labels, counts, strict=True) if n}

    def mix(self, arm: int) -> Floats:
        """[labels]: how many, weighted."""
        return np.asarray((self.weights[:, arm, None] * self.counts[:, arm]).sum(axis=0))

    def effective(self, arm: int) -> float:
        """As how many answers of one weight they tell as much, of each of `mix` (Kish)."""
        weights, answers = self.weights[:, arm], self.counts[:, arm].sum(axis=1)
        squares = float(weights**2 @ answers)
        return float(weights @ answers) / squares if squares else 0.0

    def confidence(self, arm: int) -> float:
        """The mean; nan if there is no answer."""
        answers = float(self.mix(arm).sum())
        return float(self.weights[:, arm] @ self.confidences[:, arm]) / answers if answers else nan


def weighed(counts: Floats) -> tuple[Flags, Floats]:
    """In which hours [hours] both versions answered, and what an answer of each counts in these
    [those, 2]: 1 for the candidate's.

    Args:
        counts: [hours, 2, kinds of answer], of control and of treatment.
    """
    answers = counts.sum(axis=2)
    both = np.all(answers > 0, axis=1)
    return both, answers[both][:, [1]] / answers[both]


def _is_own(one: ExposureSum) -> bool:
    """Whether the version answered that the split assigned."""
    return one.reason == Reason.SPLIT and bool(one.as_assigned)
