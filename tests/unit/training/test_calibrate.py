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


def planted(
    temperature: float, *biases: float, count: int = 20_000, seed: int = 0
) -> tuple[Floats, Targets]:
    """Logits, and targets that are as likely as that temperature and those biases say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, len(biases))).astype(np.float32)
    cumulated = softmax(logits, temperature, np.array(biases)).cumsum(axis=1)
    targets = (rng.random((count, 1)) > cumulated / cumulated[:, -1:]).sum(axis=1)
    return logits, targets.astype(np.int64)


def surprise(logits: Floats, targets: Targets, temperature: float, *biases: float) -> float:
    """Mean negative logarithm of the targets' probabilities."""
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
def test_what_was_planted_is_found_again(temperature: float, biases: tuple[float, ...]) -> None:
    """Of 20,000 images: the temperature within 5 %, a bias within 0.1."""
    found, found_biases = calibrate(*planted(temperature, *biases))
    assert found == pytest.approx(temperature, rel=0.05)
    assert found_biases == pytest.approx(biases, abs=0.1)


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 4.0])
def test_logits_that_are_scaled_scale_the_temperature_alone(factor: float) -> None:
    logits, targets = planted(1.5, 0.3, -0.3, count=2000)
    temperature, biases = calibrate(logits, targets)
    scaled, same = calibrate(logits * np.float32(factor), targets)
    assert scaled == pytest.approx(factor * temperature, rel=0.01)
    assert same == pytest.approx(biases, abs=0.01)


def test_what_is_added_to_a_labels_logits_is_taken_from_its_bias() -> None:
    logits, targets = planted(2.0, 0.3, -0.3, count=2000)
    temperature, biases = calibrate(logits, targets)
    moved, moved_biases = calibrate(logits + np.array([1, -1], np.float32), targets)
    assert moved == pytest.approx(temperature, rel=0.01)
    expected = (biases[0] - 1 / temperature, biases[1] + 1 / temperature)
    assert moved_biases == pytest.approx(expected, abs=0.01)


@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=st.integers(0, 1000), temperature=st.floats(0.5, 5), bias=st.floats(-1, 1))
def test_no_neighbour_is_likelier(seed: int, temperature: float, bias: float) -> None:
    logits, targets = planted(temperature, bias, -bias, count=300, seed=seed)
    best, biases = calibrate(logits, targets)
    reached = surprise(logits, targets, best, *biases) - 1e-6
    for factor in (0.95, 1.05):
        assert reached <= surprise(logits, targets, best * factor, *biases)
    for shift in (-0.05, 0.05):
        shifted = (biases[0] + shift, biases[1] - shift)
        assert reached <= surprise(logits, targets, best, *shifted)


@pytest.mark.parametrize("biases", [(0.5, -0.5), (-1.5, 0.5, 1.0)], ids=str)
def test_every_label_is_given_as_much_as_it_is_common(biases: tuple[float, ...]) -> None:
    """What the biases are for: by mean probability."""
    logits, targets = planted(2.0, *biases, count=3000)
    found, found_biases = calibrate(logits, targets)
    shares = np.bincount(targets, minlength=len(biases)) / len(targets)
    mean = softmax(logits, found, np.array(found_biases)).mean(axis=0)
    np.testing.assert_allclose(mean, shares, atol=1e-3)


def test_a_label_that_the_network_is_shy_of_is_given_more_often() -> None:
    """As koalas are, of which there are few to learn from."""
    logits, targets = planted(1.0, 0.0, 0.0, 0.0, count=3000)
    shy = logits - np.array([0, 0, 3], np.float32)
    found, biases = calibrate(shy, targets)
    before = (shy.argmax(axis=1) == 2).mean()
    after = (softmax(shy, found, np.array(biases)).argmax(axis=1) == 2).mean()
    assert before < 0.2 < 0.3 < after < 0.37
    assert biases[2] == max(biases)


def test_the_same_answers_give_the_same_calibration() -> None:
    assert calibrate(*planted(2.0, 0.5, -0.5)) == calibrate(*planted(2.0, 0.5, -0.5))


@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=st.integers(0, 1000), temperature=st.floats(0.3, 6))
def test_it_has_four_digits_and_biases_whose_mean_is_none(seed: int, temperature: float) -> None:
    found, biases = calibrate(*planted(temperature, 1.0, 0.0, 0.2, count=200, seed=seed))
    assert [found, *biases] == [round(number, 4) for number in (found, *biases)]
    assert sum(biases) == pytest.approx(0, abs=2e-4)


def test_it_lowers_the_calibration_error_of_a_network_that_is_too_sure() -> None:
    logits, targets = planted(3.0, 0.5, -0.5, 0.0)

    def error(rows: NDArray[np.float64]) -> float:
        right = rows.argmax(axis=1) == targets
        return calibration_error(rows.max(axis=1).astype(np.float32), right)

    found, biases = calibrate(logits, targets)
    assert error(softmax(logits, found, np.array(biases))) < 0.015 < 0.1 < error(softmax(logits))


@pytest.mark.parametrize("right", [True, False])
def test_it_stays_within_bounds_where_every_answer_is_right_or_wrong(right: bool) -> None:
    logits = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    answers = logits.argmax(axis=1)
    found, biases = calibrate(logits, answers if right else 1 - answers)
    assert TEMPERATURES[0] <= found <= TEMPERATURES[1]
    assert (found < 1) if right else (found > 1)
    assert BIASES[0] <= min(biases) <= max(biases) <= BIASES[1]
