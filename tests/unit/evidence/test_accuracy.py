"""Accuracy and confusion, by hand and against simulated samples of images."""

from __future__ import annotations

import numpy as np
import pytest

from serve_app.evidence.accuracy import LabelledImages, count_confusion, estimate_accuracy
from serve_app.evidence.confidence import bonferroni, rate
from tests.unit.evidence.simulation import draw_images


def images_of(*rows: tuple[int, str, str, float, float]) -> LabelledImages:
    """Rows of unit, predicted label, true label, weight, images."""
    unit, predicted, truth, weight, images = zip(*rows, strict=True) if rows else ((),) * 5
    return LabelledImages(
        np.array(unit, np.int64),
        np.array(predicted, np.str_),
        np.array(truth, np.str_),
        np.array(weight, np.float64),
        np.array(images, np.float64),
    )


def test_independent_images_of_one_weight_are_a_plain_share() -> None:
    found = estimate_accuracy(images_of((0, "cat", "cat", 2, 80), (0, "dog", "cat", 2, 20)))
    assert found.images == 100
    assert found.rate.estimate == pytest.approx(0.8)
    plain = rate(80, 100).interval
    assert found.rate.interval.low == pytest.approx(plain.low, abs=2e-3)
    assert found.rate.interval.high == pytest.approx(plain.high, abs=2e-3)


def test_an_image_counts_by_its_weight() -> None:
    """Ten right images that stand for 50 each, and 100 wrong ones: 500 of 600."""
    found = estimate_accuracy(images_of((0, "cat", "cat", 50, 10), (0, "dog", "cat", 1, 100)))
    assert found.rate.estimate == pytest.approx(500 / 600)
    assert found.rate.trials == pytest.approx(600**2 / (10 * 50**2 + 100), rel=0.02)


def test_images_of_a_unit_count_little() -> None:
    """Twenty users with ten images each that all have one outcome are about twenty images."""
    rows = [(user, "cat", "cat" if user % 2 else "dog", 1, 10) for user in range(1, 21)]
    assert estimate_accuracy(images_of(*rows)).rate.trials == pytest.approx(20, rel=0.05)


def test_recall_is_by_true_label() -> None:
    rows = (
        (0, "koala", "koala", 1, 30),
        (0, "dog", "koala", 1, 10),
        (0, "dog", "dog", 1, 5),
    )
    found = estimate_accuracy(images_of(*rows))
    recall = {label: one.estimate for label, one in found.recall.items()}
    assert recall == {"dog": 1, "koala": pytest.approx(0.75)}
    single = estimate_accuracy(images_of(*rows[:2]), bonferroni(0.05, 2)).rate
    assert found.recall["koala"] == single


def test_confusion_counts_weighted_images() -> None:
    found = count_confusion(
        images_of(
            (1, "koala", "dog", 2, 3),
            (2, "koala", "dog", 1, 1),
            (3, "dog", "dog", 1, 4),
            (0, "dog", "other", 50, 1),
        )
    )
    assert found == {"dog": {"dog": 4, "koala": 7}, "other": {"dog": 50}}


def test_without_images_nothing_is_known() -> None:
    found = estimate_accuracy(images_of())
    assert (found.images, found.rate.estimate, found.recall) == (0, None, {})
    assert count_confusion(images_of()) == {}


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_the_interval_covers_the_accuracy_of_all_images(correlation: float) -> None:
    """85 % are agreements, of which 1 in 20 is kept and 95 % are right; of the rest, all are kept
    and 50 % are right. One look at 1,500 copied images of 300 users."""
    rng = np.random.default_rng(21)
    runs, misses, estimates = 400, 0, []
    truth = 0.85 * 0.95 + 0.15 * 0.5
    for _ in range(runs):
        unit, agrees = draw_images(rng, 300, 1500, 0.85, correlation)
        right = rng.random(1500) < np.where(agrees, 0.95, 0.5)
        probability = np.where(agrees, 0.05, 1.0)
        kept = rng.random(1500) < probability
        found = estimate_accuracy(
            LabelledImages(
                unit[kept],
                np.where(right, "cat", "dog")[kept],
                np.full(kept.sum(), "cat"),
                1 / probability[kept],
                np.ones(kept.sum()),
            )
        )
        misses += truth not in found.rate.interval
        estimates.append(found.rate.estimate or 0)
    print(f"accuracy, ICC {correlation}, seed 21, {runs} runs: {misses / runs:.3f} missed")
    print(f"mean estimate {np.mean(estimates):.4f}, true {truth:.4f}")
    assert misses / runs <= 0.05
    assert np.mean(estimates) == pytest.approx(truth, abs=0.01)
