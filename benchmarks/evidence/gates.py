"""Tables on e-values: false alarms, false passes, and the units that they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks.evidence.simulation import Counts, Scenario, draw
from benchmarks.evidence.summary import first, format_median, format_share
from benchmarks.evidence.table import SCENARIO_COLUMNS, Table, describe
from serve_app.evidence.e_values import GateCell, harm_e_value, non_inferiority_e_value
from serve_app.evidence.gate import PASS_ALPHA, ROLLBACK_ALPHA, GateMetric
from serve_app.evidence.units import Floats

WEIGHTS = (0.05, 0.1, 0.25, 0.5)
SHARE = 0.005  # of failures in control
CHUNK = 50  # runs at once, which limits the memory

HARM = tuple(
    Scenario(weight, SHARE, treatment, units, looks)
    for treatment, units, looks in (
        (SHARE, 20, 2000),
        (0.02, 20, 2000),
        (0.1, 4, 1000),
        (1.0, 1, 400),
    )
    for weight in WEIGHTS
)
# margin, scenario: at the margin and equal
PASS = tuple(
    (margin, Scenario(weight, SHARE, treatment, units, 2000))
    for margin, units in ((0.01, 30), (0.02, 15))
    for treatment in (SHARE + margin, SHARE)
    for weight in WEIGHTS
)
COLUMNS = ("looks", "proved", "units of treatment")


def tables(runs: int, seed: int) -> Iterator[Table]:
    """Args:
    runs: Of each row.
    """
    rows = [
        (
            *(*describe(scenario), f"{scenario.looks:,}"),
            *_simulate(
                scenario, harm_e_value, ROLLBACK_ALPHA[GateMetric.FAILURES], runs, (seed, 6, number)
            ),
        )
        for number, scenario in enumerate(HARM)
    ]
    yield Table("gate-harm", (*SCENARIO_COLUMNS, *COLUMNS), tuple(rows), len(SCENARIO_COLUMNS) + 1)
    rows = [
        (
            *(f"{100 * margin:g}", *describe(scenario), f"{scenario.looks:,}"),
            *_simulate(
                scenario,
                partial(non_inferiority_e_value, margin=margin),
                PASS_ALPHA,
                runs,
                (seed, 7, number),
            ),
        )
        for number, (margin, scenario) in enumerate(PASS)
    ]
    columns = ("margin, points", *SCENARIO_COLUMNS, *COLUMNS)
    yield Table("gate-pass", columns, tuple(rows), len(SCENARIO_COLUMNS) + 2)


def _simulate(
    scenario: Scenario,
    e_value: Callable[[GateCell], Floats],
    alpha: float,
    runs: int,
    seed: tuple[int, ...],
) -> tuple[str, str]:
    """The share of runs with a proof at any look, and the median units of treatment until then."""
    chunks = []
    for number, start in enumerate(range(0, runs, CHUNK)):
        counts = draw(scenario, min(CHUNK, runs - start), (*seed, number))
        is_proof = e_value(_cells(counts, scenario.weight)) >= 1 / alpha
        chunks.append(first(is_proof, counts.treatment_units))
    units = np.concatenate(chunks)
    return format_share(np.isfinite(units)), format_median(units)


def _cells(counts: Counts, weight: float) -> GateCell:
    """One cell a run and look."""
    columns = (
        counts.control_units,
        counts.control_events,
        counts.treatment_units,
        counts.treatment_events,
    )
    return GateCell(np.array([weight]), *(column[..., np.newaxis] for column in columns))
