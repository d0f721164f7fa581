from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.classifier import softmax
from models.evaluation import calibration_error
from models.network import Floats
from training.calibrate import BIASES, TEMPERATURES, calibrate

Targets = NDArray[np.int64]


def synthetic_logits(
    temperature: float, *biases: float, count: int = 20_000, seed: int = 0
) -> tuple[Floats, Targets]:
    """Random logits, and targets drawn from their probabilities after calibration."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, len(biases))).astype(np.float32)
    cumulated = softmax(logits, temperature, np.array(biases)).cumsum(axis=1)
    targets = (rng.random((count, 1)) > cumulated / cumulated[:, -1:]).sum(axis=1)
    return logits, targets.astype(np.int64)


def negative_log_likelihood(
    logits: Floats, targets: Targets, temperature: float, *biases: float
) -> float:
    """Mean negative log likelihood of the targets."""
    rows = softmax(logits, temperature, np.array(biases))
    return float(-np.log(rows[np.arange(len(targets)), targets]).mean())


@pytest.mark.parametrize(
    ("temperature", "biases"),
    [
        *product([0.5, 1.0, 1.7, 4.0], [(0, 0), (0.8, -0.8), (-1.2, 0.4, 0.8)]),
        (1.7, (0,) * 10),
    ],
    ids=str,
)
def test_the_true_parameters_are_recovered(temperature: float, biases: tuple[float, ...]) -> None:
    """With 20,000 images: the temperature within 5 %, the biases within 0.1."""
    found, found_biases = calibrate(*synthetic_logits(temperature, *biases))
    assert found == pytest.approx(temperature, rel=0.05)
    assert found_biases == pytest.approx(biases, abs=0.1)


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 4.0])
def test_scaling_the_logits_scales_only_the_temperature(factor: float) -> None:
    logits, targets = synthetic_logits(1.5, 0.3, -0.3, count=2000)
    temperature, biases = calibrate(logits, targets)
    scaled, same = calibrate(logits * np.float32(factor), targets)
    assert scaled == pytest.approx(factor * temperature, rel=0.01)
    assert same == pytest.approx(biases, abs=0.01)


def test_an_offset_of_the_logits_is_compensated_by_the_bias() -> None:
    logits, targets = synthetic_logits(2.0, 0.3, -0.3, count=2000)
    temperature, biases = calibrate(logits, targets)
    moved, moved_biases = calibrate(logits + np.array([1, -1], np.float32), targets)
    assert moved == pytest.approx(temperature, rel=0.01)
    expected = (biases[0] - 1 / temperature, biases[1] + 1 / temperature)
    assert moved_biases == pytest.approx(expected, abs=0.01)


@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=st.integers(0, 1000), temperature=st.floats(0.5, 5), bias=st.floats(-1, 1))
def test_the_result_is_a_likelihood_maximum(seed: int, temperature: float, bias: float) -> None:
    logits, targets = synthetic_logits(temperature, bias, -bias, count=300, seed=seed)
    best, biases = calibrate(logits, targets)
    reached = negative_log_likelihood(logits, targets, best, *biases) - 1e-6
    for factor in (0.95, 1.05):
        assert reached <= negative_log_likelihood(logits, targets, best * factor, *biases)
    for shift in (-0.05, 0.05):
        shifted = (biases[0] + shift, biases[1] - shift)
        assert reached <= negative_log_likelihood(logits, targets, best, *shifted)


@pytest.mark.parametrize("biases", [(0.5, -0.5), (-1.5, 0.5, 1.0)], ids=str)
def test_the_mean_probability_of_a_label_equals_its_share(biases: tuple[float, ...]) -> None:
    logits, targets = synthetic_logits(2.0, *biases, count=3000)
    found, found_biases = calibrate(logits, targets)
    shares = np.bincount(targets, minlength=len(biases)) / len(targets)
    mean = softmax(logits, found, np.array(found_biases)).mean(axis=0)
    np.testing.assert_allclose(mean, shares, atol=1e-3)


def test_an_underpredicted_label_is_predicted_more_often() -> None:
    """For example koalas, of which there are few training images."""
    logits, targets = synthetic_logits(1.0, 0.0, 0.0, 0.0, count=3000)
    underpredicted = logits - np.array([0, 0, 3], np.float32)
    found, biases = calibrate(underpredicted, targets)
    before = (underpredicted.argmax(axis=1) == 2).mean()
    after = (softmax(underpredicted, found, np.array(biases)).argmax(axis=1) == 2).mean()
    assert before < 0.2 < 0.3 < after < 0.37
    assert biases[2] == max(biases)


def test_the_result_is_deterministic() -> None:
    assert calibrate(*synthetic_logits(2.0, 0.5, -0.5)) == calibrate(
        *synthetic_logits(2.0, 0.5, -0.5)
    )


@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=st.integers(0, 1000), temperature=st.floats(0.3, 6))
def test_results_have_four_digits_and_the_biases_have_mean_0(seed: int, temperature: float) -> None:
    found, biases = calibrate(*synthetic_logits(temperature, 1.0, 0.0, 0.2, count=200, seed=seed))
    assert [found, *biases] == [round(number, 4) for number in (found, *biases)]
    assert sum(biases) == pytest.approx(0, abs=2e-4)


def test_it_lowers_the_calibration_error_of_an_overconfident_network() -> None:
    logits, targets = synthetic_logits(3.0, 0.5, -0.5, 0.0)

    def error(rows: NDArray[np.float64]) -> float:
        is_correct = rows.argmax(axis=1) == targets
        return calibration_error(rows.max(axis=1).astype(np.float32), is_correct)

    found, biases = calibrate(logits, targets)
    assert error(softmax(logits, found, np.array(biases))) < 0.015 < 0.1 < error(softmax(logits))


@pytest.mark.parametrize("is_correct", [True, False])
def test_it_stays_within_bounds_if_all_predictions_are_correct_or_wrong(is_correct: bool) -> None:
    logits = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    predictions = logits.argmax(axis=1)
    found, biases = calibrate(logits, predictions if is_correct else 1 - predictions)
    assert TEMPERATURES[0] <= found <= TEMPERATURES[1]
    assert (found < 1) if is_correct else (found > 1)
    assert BIASES[0] <= min(biases) <= max(biases) <= BIASES[1]
