"""The labels that both versions of a split predict, weighted to be comparable."""

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
    """Labels and confidences that each version predicted itself.

    Only hours of an epoch in which both versions served count. Images differ by hour, and weights
    by epoch: stable's predictions of an hour are weighted to the number of the candidate's.

    Attributes:
        labels: All labels that were predicted.
        counts: float64 [hours, 2, labels], for control and treatment.
        weights: float64 [hours, 2], the weight of one prediction.
        confidence_sums: float64 [hours, 2].
    """

    labels: list[str]
    counts: Floats
    weights: Floats
    confidence_sums: Floats

    @classmethod
    def from_sums(cls, experiment: Experiment, sums: list[ExposureSum]) -> LabelMix:
        """The mix of exposure sums by epoch and hour."""
        arms = {experiment.control: 0, experiment.treatment: 1}
        own = [s for s in sums if _is_own(s) and s.label and s.assigned in arms]
        hours = {key: n for n, key in enumerate(sorted({(s.epoch, s.at_ms) for s in own}))}
        labels = sorted({s.label or "" for s in own})
        counts = np.zeros((len(hours), 2, len(labels)))
        confidence_sums = np.zeros((len(hours), 2))
        for row in own:
            cell = hours[row.epoch, row.at_ms], arms[row.assigned or ""]
            counts[*cell, labels.index(row.label or "")] += row.exposures
            confidence_sums[cell] += row.confidence_sum
        has_both, weights = hour_weights(counts)
        return cls(labels, counts[has_both], weights, confidence_sums[has_both])

    def label_counts(self, arm: int) -> dict[str, int]:
        """Label -> number of predictions, unweighted."""
        counts = self.counts[:, arm].sum(axis=0).astype(int).tolist()
        return {label: n for label, n in zip(self.labels, counts, strict=True) if n}

    def weighted_counts(self, arm: int) -> Floats:
        """float64 [labels]."""
        return np.asarray((self.weights[:, arm, None] * self.counts[:, arm]).sum(axis=0))

    def effective_size(self, arm: int) -> float:
        """The effective sample size per unit of `weighted_counts`: sum w / sum w^2 (Kish)."""
        weights, sizes = self.weights[:, arm], self.counts[:, arm].sum(axis=1)
        squares = float(weights**2 @ sizes)
        return float(weights @ sizes) / squares if squares else 0.0

    def mean_confidence(self, arm: int) -> float:
        """The weighted mean, 0 to 1; nan without a prediction."""
        size = float(self.weighted_counts(arm).sum())
        return float(self.weights[:, arm] @ self.confidence_sums[:, arm]) / size if size else nan


def hour_weights(counts: Floats) -> tuple[Flags, Floats]:
    """The hours in which both versions served, and the weights that balance them.

    Args:
        counts: [hours, 2, classes], for control and treatment.

    Returns:
        bool [hours], and float64 [hours with both, 2]: 1 for treatment, and for control the ratio
        of treatment's count to its own.
    """
    sizes = counts.sum(axis=2)
    has_both = np.all(sizes > 0, axis=1)
    return has_both, sizes[has_both][:, [1]] / sizes[has_both]


def _is_own(row: ExposureSum) -> bool:
    """Whether the version that the split assigned served the request itself."""
    return row.reason == Reason.SPLIT and bool(row.served_as_assigned)
