from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.classifier import softmax
from models.evaluation import calibration_error
from models.network import Floats
from training.calibrate import TEMPERATURES, calibrate


def temperature(logits: Floats, targets: NDArray[np.int64]) -> float:
    return calibrate(logits, targets)[0]


def planted(
    true: float,
    classes: int = 3,
    count: int = 20_000,
    seed: int = 0,
    biases: tuple[float, ...] = (),
) -> tuple[Floats, NDArray[np.int64]]:
    """Logits, and targets that are as likely as the softmax at the true temperature says."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, classes)).astype(np.float32)
    likelihood = softmax(logits, true, np.array(biases or 0.0)).cumsum(axis=1)
    targets = (rng.random((count, 1)) > likelihood / likelihood[:, -1:]).sum(axis=1)
    return logits, targets.astype(np.int64)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("true", [0.5, 1.0, 1.7, 4.0])
def test_a_planted_temperature_is_found_again(true: float, classes: int) -> None:
    """Within 5 %, of 20,000 pictures."""
    assert temperature(*planted(true, classes)) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 4.0])
def test_logits_that_are_scaled_scale_the_temperature(factor: float) -> None:
    logits, targets = planted(1.5, count=2000)
    scaled = temperature(logits * np.float32(factor), targets)
    assert scaled == pytest.approx(factor * temperature(logits, targets), rel=0.01)


def test_nearby_temperatures_are_less_likely() -> None:
    logits, targets = planted(1.7, count=500)
    found = temperature(logits, targets)

    def surprise(at: float) -> float:
        scaled = logits.astype(np.float64) / at
        normaliser = np.log(np.exp(scaled).sum(axis=1))
        return float((normaliser - scaled[np.arange(len(targets)), targets]).mean())

    assert surprise(found) < min(surprise(found * factor) for factor in (0.97, 1.03))


def test_the_same_answers_give_the_same_temperature() -> None:
    assert temperature(*planted(2.0, seed=5)) == temperature(*planted(2.0, seed=5))


def test_it_has_four_digits() -> None:
    found = temperature(*planted(1.7))
    assert found == round(found, 4)


def test_it_lowers_the_calibration_error_of_a_network_that_is_too_sure() -> None:
    logits, targets = planted(3.0)

    def error(at: float) -> float:
        rows = softmax(logits, at)
        return calibration_error(rows.max(axis=1), rows.argmax(axis=1) == targets)

    assert error(temperature(logits, targets)) < 0.01 < 0.1 < error(1.0)


@pytest.mark.parametrize("biases", [(0.4, -0.4), (-0.5, -0.25, 0.75), (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("true", [0.7, 1.5])
def test_planted_biases_are_found_again(true: float, biases: tuple[float, ...]) -> None:
    """Within 0.1, of 20,000 pictures."""
    found = calibrate(*planted(true, classes=len(biases), biases=biases))
    assert found[0] == pytest.approx(true, rel=0.05)
    assert found[1] == pytest.approx(biases, abs=0.1)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 1000), true=st.floats(0.3, 6))
def test_biases_have_a_mean_of_zero(seed: int, true: float) -> None:
    assert sum(calibrate(*planted(true, count=60, seed=seed))[1]) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("right", [True, False])
def test_it_stays_within_bounds_where_every_answer_is_right_or_wrong(right: bool) -> None:
    logits = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    answers = logits.argmax(axis=1)
    found = temperature(logits, answers if right else 1 - answers)
    assert TEMPERATURES[0] <= found <= TEMPERATURES[1]
    assert (found < 1) if right else (found > 1)
