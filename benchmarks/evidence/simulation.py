"""Simulated experiments: units of two arms, of which a share has an event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.evidence.units import Floats

LOOKS = 30


@dataclass(frozen=True, slots=True)
class Scenario:
    """Attributes:
    weight: The probability of treatment, above 0, below 1.
    control, treatment: The share of units with an event, 0 to 1.
    units: New units of both arms before each look.
    """

    weight: float
    control: float
    treatment: float
    units: int
    looks: int = LOOKS

    @property
    def difference(self) -> float:
        return self.treatment - self.control


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Units, and units with an event, until each look; float64 [runs, looks]."""

    control_units: Floats
    control_events: Floats
    treatment_units: Floats
    treatment_events: Floats

    @property
    def units(self) -> Floats:
        """Of both arms."""
        return self.control_units + self.treatment_units


def draw(scenario: Scenario, runs: int, seed: Sequence[int]) -> Counts:
    """Independent runs of a scenario.

    Args:
        seed: Of numpy's `default_rng`.
    """
    rng = np.random.default_rng(seed)
    treatment = rng.binomial(scenario.units, scenario.weight, (runs, scenario.looks))
    control = scenario.units - treatment
    return Counts(
        *(
            np.cumsum(new, axis=1, dtype=np.float64)
            for new in (
                control,
                rng.binomial(control, scenario.control),
                treatment,
                rng.binomial(treatment, scenario.treatment),
            )
        )
    )
