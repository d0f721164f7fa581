"""Median and range of repeated measurements."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum over the rounds."""

    median: float
    low: float
    high: float

    @staticmethod
    def from_values(values: list[float]) -> Spread | None:
        """The spread of some values; None for an empty list."""
        return Spread(median(values), min(values), max(values)) if values else None
