"""The measures and the verdict of a canary."""

from __future__ import annotations

import numpy as np
import pytest

from serve_app.evidence.canary import CanaryUnits, decide_canary, latency_measure
from serve_app.evidence.comparison import Comparison
from serve_app.evidence.srm import SrmCounts, check
from serve_app.evidence.verdict import Finding

BETTER, WORSE, SAME = Finding.BETTER, Finding.WORSE, Finding.NO_DIFFERENCE
KEEP_GOING, NOT_KNOWN = Finding.KEEP_GOING, Finding.NOT_KNOWN
NO_SRM = check([])


@pytest.mark.parametrize(
    ("findings", "finding", "sentence"),
    [
        ([SAME, SAME, SAME], SAME, "The candidate works as well as stable."),
        ([SAME, BETTER, BETTER], BETTER, "The candidate works and is better in b, c."),
        ([NOT_KNOWN, BETTER, SAME], NOT_KNOWN, "Not enough data for every measure: see a."),
        (
            [KEEP_GOING, NOT_KNOWN, KEEP_GOING],
            KEEP_GOING,
            "Not decided yet whether the candidate works as well as stable: see a, c.",
        ),
        ([KEEP_GOING, WORSE, BETTER], WORSE, "The candidate is worse than stable: see b."),
    ],
)
def test_the_worst_finding_decides(
    findings: list[Finding], finding: Finding, sentence: str
) -> None:
    verdict = decide_canary(dict(zip("abc", findings, strict=True)), NO_SRM)
    assert (verdict.finding, verdict.sentence) == (finding, sentence)


def test_an_srm_invalidates_every_finding() -> None:
    srm = check([SrmCounts(1, 100, 0, 0.5)])
    assert decide_canary({"error rate": WORSE}, srm).finding is Finding.INVALID


def canary_units(*rows: tuple[int, int, int, bool, int, int]) -> CanaryUnits:
    """Sums; a row has unit, epoch, day, treated, exposures, errors."""
    unit, epoch, day, treated, exposures, errors = np.array(rows, np.int64).T
    ones = np.ones(len(unit))
    return CanaryUnits(
        unit=unit,
        epoch=epoch,
        day=day,
        region=np.full(len(unit), "AU"),
        treated=treated.astype(np.bool_),
        exposures=exposures.astype(np.float64),
        errors=errors.astype(np.float64),
        latency_ms=10 * exposures * (1 + treated),
        model_count=ones,
        model_ms=ones,
    )


@pytest.mark.parametrize(("epoch", "day"), [(1, 8), (2, 7)])
def test_errors_are_compared_within_days_of_epochs(epoch: int, day: int) -> None:
    """Both versions fail half of the units on day 7 of epoch 1, and none later; pooled they would
    differ."""
    units = canary_units(
        *((unit, 1, 7, unit >= 90, 2, 2 * (unit % 2)) for unit in range(100)),
        *((unit, epoch, day, unit >= 150, 2, 0) for unit in range(100, 200)),
    )
    errors, interval = units.compare_errors()
    assert [errors.control, errors.treatment] == pytest.approx([0.25, 0.25])
    assert errors.strata == 2
    assert 0 in interval
    assert errors.exposures_left_out == 0


def test_a_slowdown_matters_relative_to_stable() -> None:
    compared = canary_units((1, 1, 7, False, 2, 0), (2, 1, 7, True, 2, 0)).compare_latency()
    measure = latency_measure("latency", compared)
    assert (compared.control, compared.treatment) == (10, 20)
    assert (measure.name, measure.min_effect, measure.unit) == ("mean latency", 1.0, "ms")


def test_a_slowdown_of_nothing_matters_from_a_tenth_of_a_millisecond_on() -> None:
    nothing = Comparison(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert latency_measure("latency", nothing).min_effect == pytest.approx(0.1)
