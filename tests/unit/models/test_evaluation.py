"""Compared with scikit-learn, statsmodels and plain loops that follow the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)
from statsmodels.stats.proportion import proportion_confint

from models import registry
from models.classifier import load, softmax
from models.errors import BadData
from models.evaluation import (
    BATCH,
    CALIBRATION_BINS,
    calibration_error,
    compute_metrics,
    evaluate,
    predict,
    wilson_interval,
)
from models.network import Floats
from models.samples import Sample, synthesize_sample

LABELS = ("cat", "dog", "koala")


def probabilities_for(*predicted_labels: str, confidence: float = 0.8) -> Floats:
    """Probabilities whose largest entries are these labels, each with the same confidence."""
    rest = (1 - confidence) / (len(LABELS) - 1)
    rows = [
        [confidence if label == predicted else rest for label in LABELS]
        for predicted in predicted_labels
    ]
    return np.array(rows, np.float32)


@st.composite
def predictions_with_truths(draw: st.DrawFn) -> tuple[Floats, tuple[str, ...]]:
    """Predictions for 1 .. 40 images, at least one of a known label."""
    truths = draw(
        st.lists(st.sampled_from([*LABELS, "wombat", "ant"]), min_size=1, max_size=40).filter(
            lambda names: any(name in LABELS for name in names)
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    spread = draw(st.sampled_from([0.1, 1.0, 10.0]))
    logits = rng.normal(0, spread, (len(truths), len(LABELS))).astype(np.float32)
    return softmax(logits, 1.0).astype(np.float32), tuple(truths)


class TestAgainstScikitLearn:
    @settings(deadline=None, derandomize=True, max_examples=50)
    @given(images=predictions_with_truths())
    def test_all_metrics_agree(self, images: tuple[Floats, tuple[str, ...]]) -> None:
        probabilities, truths = images
        found = compute_metrics(probabilities, truths, LABELS, "made up")

        rows = [row for row, truth in enumerate(truths) if truth in LABELS]
        true_labels = [truths[row] for row in rows]
        predicted_labels = [LABELS[column] for column in probabilities[rows].argmax(axis=1)]
        recalls, precisions, f1s = (
            score(
                true_labels, predicted_labels, labels=LABELS, average=None, zero_division=undefined
            )
            for score, undefined in (
                (recall_score, np.nan),
                (precision_score, np.nan),
                (f1_score, 0),
            )
        )
        shown = [label for label in LABELS if label in true_labels]

        assert found.images == len(rows)
        assert found.accuracy == pytest.approx(accuracy_score(true_labels, predicted_labels))
        assert np.array_equal(
            found.confusion, confusion_matrix(true_labels, predicted_labels, labels=LABELS)
        )
        assert found.macro_f1 == pytest.approx(
            f1_score(true_labels, predicted_labels, labels=shown, average="macro", zero_division=0)
        )
        for label, recall, precision, f1 in zip(LABELS, recalls, precisions, f1s, strict=True):
            score = found.labels[label]
            assert score.images == true_labels.count(label)
            assert score.f1 == pytest.approx(f1)
            for ours, theirs in ((score.recall, recall), (score.precision, precision)):
                assert (ours is None) == np.isnan(theirs)
                assert ours is None or ours == pytest.approx(theirs)

    @settings(deadline=None, derandomize=True, max_examples=25)
    @given(images=predictions_with_truths(), seed=st.integers(0, 100))
    def test_the_order_of_the_images_does_not_matter(
        self, images: tuple[Floats, tuple[str, ...]], seed: int
    ) -> None:
        probabilities, truths = images
        order = np.random.default_rng(seed).permutation(len(truths))
        one = compute_metrics(probabilities, truths, LABELS, "")
        other = compute_metrics(probabilities[order], [truths[row] for row in order], LABELS, "")
        assert other.confusion == one.confusion
        assert other.accuracy == one.accuracy
        assert other.calibration_error == pytest.approx(one.calibration_error)
        assert other.foreign.keys() == one.foreign.keys()


class TestMetrics:
    def test_a_small_example_computed_by_hand(self) -> None:
        found = compute_metrics(
            probabilities_for("cat", "cat", "dog", "cat"),
            ("cat", "cat", "dog", "dog"),
            LABELS,
            "by hand",
        )
        assert found.data == "by hand"
        assert (found.images, found.accuracy) == (4, 0.75)
        assert found.confusion == ((2, 0, 0), (1, 1, 0), (0, 0, 0))
        assert found.labels["cat"].recall == 1
        assert found.labels["cat"].precision == pytest.approx(2 / 3)
        assert found.labels["dog"].recall == 0.5
        assert found.labels["dog"].precision == 1
        assert found.mean_confidence == pytest.approx(0.8)
        assert found.calibration_error == pytest.approx(0.05)
        assert found.foreign == {}

    def test_a_label_that_is_never_predicted_has_no_precision(self) -> None:
        found = compute_metrics(probabilities_for("cat", "cat"), ("cat", "koala"), LABELS, "")
        assert found.labels["koala"].precision is None
        assert (found.labels["koala"].recall, found.labels["koala"].f1) == (0, 0)

    def test_a_label_without_images_has_no_recall_and_does_not_count_in_macro_f1(self) -> None:
        found = compute_metrics(probabilities_for("cat", "dog"), ("cat", "dog"), LABELS, "")
        assert found.macro_f1 == 1
        assert found.labels["koala"].images == 0
        assert found.labels["koala"].recall is None
        assert found.labels["koala"].recall_interval == (0, 1)

    def test_the_intervals_are_wilson_intervals_of_the_shares(self) -> None:
        found = compute_metrics(
            probabilities_for("cat", "dog", "dog"), ("cat", "cat", "dog"), LABELS, ""
        )
        assert found.accuracy_interval == wilson_interval(2, 3)
        assert found.labels["cat"].recall_interval == wilson_interval(1, 2)

    @pytest.mark.parametrize("truths", [(), ("ant",), ("wombat", "ant", "ant")])
    def test_data_without_known_labels_is_rejected(self, truths: tuple[str, ...]) -> None:
        has = ", ".join(sorted(set(truths))) or "nothing"
        text = (
            r"no image has a label that the version knows \(cat, dog, koala\);"
            rf" the data has {has}$"
        )
        with pytest.raises(BadData, match=text):
            compute_metrics(
                probabilities_for("cat", "cat", "cat")[: len(truths)], truths, LABELS, ""
            )


class TestForeignLabels:
    def test_they_are_counted_separately(self) -> None:
        probabilities = probabilities_for("cat", "dog", "dog", "cat", confidence=0.6)
        probabilities[1] = probabilities_for("dog", confidence=0.9)
        found = compute_metrics(probabilities, ("cat", "ant", "ant", "wombat"), LABELS, "")
        assert found.images == 1
        assert list(found.foreign) == ["ant", "wombat"]
        assert found.foreign["ant"].images == 2
        assert found.foreign["ant"].answers == {"cat": 0, "dog": 2, "koala": 0}
        assert found.foreign["ant"].mean_confidence == pytest.approx(0.75)
        assert found.foreign["wombat"].answers == {"cat": 1, "dog": 0, "koala": 0}

    @settings(deadline=None, derandomize=True, max_examples=30)
    @given(images=predictions_with_truths())
    def test_they_do_not_change_the_other_metrics(
        self, images: tuple[Floats, tuple[str, ...]]
    ) -> None:
        probabilities, truths = images
        known = [row for row, truth in enumerate(truths) if truth in LABELS]
        whole = compute_metrics(probabilities, truths, LABELS, "")
        alone = compute_metrics(probabilities[known], [truths[row] for row in known], LABELS, "")
        assert whole.model_copy(update={"foreign": {}}) == alone
        foreign = sum(label.images for label in whole.foreign.values())
        assert whole.images + foreign == len(truths)
        assert all(sum(f.answers.values()) == f.images for f in whole.foreign.values())


class TestWilsonInterval:
    @pytest.mark.parametrize("trials", [*range(1, 31), 97, 100, 400, 1234, 100_000])
    def test_it_agrees_with_statsmodels(self, trials: int) -> None:
        for successes in sorted({0, 1, trials // 3, trials // 2, trials - 1, trials}):
            low, high = proportion_confint(successes, trials, alpha=0.05, method="wilson")
            assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-9)

    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(data=st.data(), trials=st.integers(1, 5000))
    def test_it_contains_the_share_and_is_symmetric(self, data: st.DataObject, trials: int) -> None:
        successes = data.draw(st.integers(0, trials))
        low, high = wilson_interval(successes, trials)
        assert 0 <= low <= high <= 1
        assert low - 1e-12 <= successes / trials <= high + 1e-12
        mirrored = wilson_interval(trials - successes, trials)
        assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-9)

    def test_no_trials_give_the_interval_0_to_1(self) -> None:
        assert wilson_interval(0, 0) == (0, 1)


def naive_calibration_error(confidence: Floats, is_correct: NDArray[np.bool_]) -> float:
    """Bin (0, 1/15], (1/15, 2/15], ...: share of the images x |accuracy - confidence|."""
    error = 0.0
    for number in range(CALIBRATION_BINS):
        low, high = number / CALIBRATION_BINS, (number + 1) / CALIBRATION_BINS
        inside = [row for row, c in enumerate(confidence) if low < c <= high]
        if inside:
            accuracy = sum(bool(is_correct[row]) for row in inside) / len(inside)
            mean_confidence = sum(float(confidence[row]) for row in inside) / len(inside)
            error += len(inside) / len(confidence) * abs(accuracy - mean_confidence)
    return error


class TestCalibrationError:
    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(
        rows=st.lists(
            st.tuples(
                # not on the border of a bin, because of rounding
                st.tuples(st.integers(0, 14), st.floats(0.01, 0.99)).map(lambda b: sum(b) / 15),
                st.booleans(),
            ),
            min_size=1,
            max_size=80,
        )
    )
    def test_it_agrees_with_its_definition(self, rows: list[tuple[float, bool]]) -> None:
        confidence = np.array([c for c, _ in rows], np.float32)
        is_correct = np.array([r for _, r in rows])
        expected = naive_calibration_error(confidence, is_correct)
        assert calibration_error(confidence, is_correct) == pytest.approx(expected, abs=1e-9)

    def test_a_bin_includes_its_upper_border(self) -> None:
        """1/5 is the upper border of bin 3; 0.21 is in bin 4, so the two do not cancel."""
        confidences = np.array([0.2, 0.21], np.float64).astype(np.float32)
        error = calibration_error(confidences, np.array([True, False]))
        assert error == pytest.approx((0.8 + 0.21) / 2, abs=1e-6)


class TestPredict:
    @pytest.mark.parametrize("count", [0, 1, BATCH, BATCH + 1])
    def test_each_image_is_predicted_once_and_in_order(self, count: int) -> None:
        classifier = load(registry.names()[0])
        side = classifier.card.input.side
        synthetic_images = synthesize_sample(["cat"], range(BATCH + 1), side)
        sample = Sample(
            synthetic_images.pixels[:count],
            synthetic_images.truths[:count],
            synthetic_images.names[:count],
        )
        found = predict(classifier, sample)
        one_by_one = [classifier.probabilities(pixels[None]) for pixels in sample.pixels]
        assert found.shape == (count, len(classifier.card.labels))
        if count:
            np.testing.assert_allclose(found, np.concatenate(one_by_one), atol=1e-5)

    def test_evaluate_uses_the_labels_of_the_version(self) -> None:
        classifier = load(registry.names()[0])
        labels = classifier.card.labels
        sample = synthesize_sample(labels, range(5), classifier.card.input.side)
        found = evaluate(classifier, sample, "five synthetic images")
        assert found == compute_metrics(
            predict(classifier, sample), sample.truths, labels, "five synthetic images"
        )
        assert tuple(found.labels) == labels
        assert all(score.images == 5 for score in found.labels.values())
