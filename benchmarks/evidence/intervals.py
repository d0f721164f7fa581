"""Tables on intervals: false verdicts, coverage under harm, width, and time to decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.evidence.methods import METHODS, Bounds
from benchmarks.evidence.simulation import LOOKS, Counts, Scenario, draw
from benchmarks.evidence.summary import ever, first, format_median, format_share
from benchmarks.evidence.table import SCENARIO_COLUMNS, Table, describe
from serve_app.evidence.units import Flags

TOLERANCE = 0.01  # a candidate with less than this more is "not worse"

EQUAL = (
    *(Scenario(weight, 0.02, 0.02, units=167) for weight in (0.01, 0.05, 0.1, 0.5)),
    *(Scenario(weight, 0.02, 0.02, units=1000) for weight in (0.05, 0.5)),
    *(Scenario(weight, 0.1, 0.1, units=1000) for weight in (0.05, 0.5)),
    Scenario(0.1, 0.001, 0.001, units=1000),
)
# Units a day that a service with such a weight has; the harm is just above the tolerance.
HARMFUL = tuple(
    Scenario(weight, share, share + harm, units)
    for share, harm in ((0.001, 0.011), (0.005, 0.0101), (0.02, 0.0101))
    for weight, units in ((0.01, 5000), (0.05, 5000), (0.1, 1000), (0.5, 200))
)
SIZES = tuple(
    Scenario(weight, 0.02, 0.02, -(-units // LOOKS))
    for units in (500, 5000, 50_000)
    for weight in (0.01, 0.05, 0.1, 0.5)
)
WORSE = (
    Scenario(0.5, 0.07, 0.1, units=167),
    *(Scenario(weight, 0.005, 0.02, units=333) for weight in (0.01, 0.05, 0.1, 0.5)),
)
NOT_WORSE = tuple(
    Scenario(weight, share, share, units=1000) for share in (0.005, 0.02) for weight in (0.1, 0.5)
)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The intervals of one method."""

    scenario: Scenario
    counts: Counts
    bounds: Bounds


Cell = Callable[[Result], str]


def tables(runs: int, seed: int) -> Iterator[Table]:
    """Args:
    runs: Of each row.
    """
    yield from _compare(EQUAL, {"equal": _missed}, runs, (seed, 1))
    yield from _compare(HARMFUL, {"harm": _missed, "not-worse": _not_worse}, runs, (seed, 2))
    yield from _compare(SIZES, {"width": _half_width}, runs, (seed, 3))
    yield from _compare(WORSE, {"time-worse": _time_to_worse}, runs, (seed, 4))
    yield from _compare(NOT_WORSE, {"time-not-worse": _time_to_not_worse}, runs, (seed, 5))


def _compare(
    scenarios: Sequence[Scenario], cells: dict[str, Cell], runs: int, seed: tuple[int, int]
) -> Iterator[Table]:
    """Several tables of the same runs, by name."""
    rows: dict[str, list[tuple[str, ...]]] = {name: [] for name in cells}
    for number, scenario in enumerate(scenarios):
        counts = draw(scenario, runs, (*seed, number))
        bounds = [method(counts) for method in METHODS.values()]
        for name, cell in cells.items():
            figures = (cell(Result(scenario, counts, found)) for found in bounds)
            rows[name].append((*describe(scenario), *figures))
    for name in cells:
        columns = (*SCENARIO_COLUMNS, *METHODS)
        yield Table(name, columns, tuple(rows[name]), len(SCENARIO_COLUMNS))


def _missed(result: Result) -> str:
    """Whether the true difference is outside at any look."""
    truth, bounds = result.scenario.difference, result.bounds
    return format_share(ever((truth < bounds.low) | (bounds.high < truth)))


def _not_worse(result: Result) -> str:
    return format_share(ever(result.bounds.high < TOLERANCE))


def _half_width(result: Result) -> str:
    """At the last look, in points."""
    widths = result.bounds.high[:, -1] - result.bounds.low[:, -1]
    return format_median(100 * widths / 2, decimals=2)


def _time_to_worse(result: Result) -> str:
    return _time(result.bounds.low > 0, result.counts)


def _time_to_not_worse(result: Result) -> str:
    return _time(result.bounds.high < TOLERANCE, result.counts)


def _time(is_found: Flags, counts: Counts) -> str:
    return f"{format_share(ever(is_found))}; {format_median(first(is_found, counts.units))}"
