"""A table of the published page."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.evidence.simulation import Scenario

SCENARIO_COLUMNS = ("control", "treatment", "weight", "units a look")


@dataclass(frozen=True, slots=True)
class Table:
    """Attributes:
    inputs: How many of the first columns say what is simulated.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    inputs: int


def describe(scenario: Scenario) -> tuple[str, ...]:
    """The cells of `SCENARIO_COLUMNS`."""
    shares = (scenario.control, scenario.treatment, scenario.weight)
    return (*(f"{100 * share:.4g} %" for share in shares), f"{scenario.units:,}")
