"""The labels that both versions of a split predict, weighted to be comparable."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import nan

import numpy as np

from serve_app.evidence.drift import Drift, drift
from serve_app.evidence.hours import Hour, hour_weights
from serve_app.evidence.units import Floats


@dataclass(frozen=True, slots=True)
class LabelCount:
    """Predictions of one label in an hour.

    Attributes:
        arm: 0 for control, 1 for treatment.
        confidence_sum: Of these predictions.
    """

    hour: Hour
    arm: int
    label: str
    predictions: int
    confidence_sum: float


@dataclass(frozen=True, slots=True, eq=False)
class LabelMix:
    """Labels and confidences that each version predicted itself, weighted by `hour_weights`.

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
    def from_counts(cls, rows: Iterable[LabelCount]) -> LabelMix:
        """The mix of both versions; rows of the same hour, arm and label are summed."""
        own = list(rows)
        hours = {hour: n for n, hour in enumerate(sorted({row.hour for row in own}))}
        labels = sorted({row.label for row in own})
        counts = np.zeros((len(hours), 2, len(labels)))
        confidence_sums = np.zeros((len(hours), 2))
        for row in own:
            cell = hours[row.hour], row.arm
            counts[*cell, labels.index(row.label)] += row.predictions
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

    def label_shares(self, arm: int) -> dict[str, float]:
        """Label -> its weighted share of the predictions."""
        counts = self.weighted_counts(arm)
        return dict(zip(self.labels, (counts / (counts.sum() or 1)).tolist(), strict=True))

    def effective_size(self, arm: int) -> float:
        """The effective sample size per unit of `weighted_counts`: sum w / sum w^2 (Kish)."""
        weights, sizes = self.weights[:, arm], self.counts[:, arm].sum(axis=1)
        squares = float(weights**2 @ sizes)
        return float(weights @ sizes) / squares if squares else 0.0

    def mean_confidence(self, arm: int) -> float:
        """The weighted mean, 0 to 1; nan without a prediction."""
        size = float(self.weighted_counts(arm).sum())
        return float(self.weights[:, arm] @ self.confidence_sums[:, arm]) / size if size else nan

    def drift(self, labels: Collection[str], images_per_unit: float) -> Drift | None:
        """The drift from control's predictions to treatment's, of some labels only.

        Args:
            images_per_unit: See `clusters.images_per_unit`.
        """
        is_meant = np.isin(self.labels, list(labels))
        control, treatment = (
            self.weighted_counts(arm)[is_meant] * self.effective_size(arm) for arm in (0, 1)
        )
        return drift(control, treatment, images_per_unit)
