"""Metrics of the shipped versions, on synthetic images and, if available, on photographs.

The environment variable SERVE_APP_PHOTOS is a folder with `test/`, which has a folder per class.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from models import registry
from models.card import Metrics
from models.classifier import Classifier, load
from models.evaluation import evaluate, predict
from models.samples import Sample, class_folders, read_folder, synthesize_sample
from training.export import TOLERANCE
from training.run import TEST_SEEDS

PHOTOS = os.environ.get("SERVE_APP_PHOTOS", "")
needs_photographs = pytest.mark.skipif(not PHOTOS, reason="SERVE_APP_PHOTOS is not set")


@dataclass(frozen=True)
class Floors:
    """Minimum metrics of a version on the labels that it knows."""

    accuracy: float
    recall: float = 0.0  # of every label
    precision: dict[str, float] = field(default_factory=dict)  # by label
    calibration_error: float = 1.0  # maximum


ON_PHOTOGRAPHS = {
    "v1": Floors(accuracy=0.90, calibration_error=0.05),
    "v2": Floors(accuracy=0.89, recall=0.85, precision={"koala": 0.85}, calibration_error=0.05),
}
ON_SYNTHETIC_IMAGES = {"v1": Floors(accuracy=0.97), "v2": Floors(accuracy=0.97)}
VERSIONS = registry.names()


def floors_for(table: dict[str, Floors], version: str) -> Floors:
    """The floors of a version; those of the last one in the table if it is not listed."""
    return table.get(version, list(table.values())[-1])


@pytest.fixture(scope="module", autouse=True)
def _restore_threads() -> Iterator[None]:
    """The torch backend sets the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@cache
def synthetic_images(labels: tuple[str, ...], seeds: range, side: int) -> Sample:
    return synthesize_sample(labels, seeds, side)


@cache
def photographs(side: int) -> Sample:
    """All test photographs, including labels that a version does not know."""
    folder = Path(PHOTOS) / "test"
    return read_folder(folder, class_folders(folder), side)


@cache
def photograph_metrics(version: str) -> Metrics:
    classifier = load(version)
    return evaluate(classifier, photographs(classifier.card.input.side), "photographs, test")


def subsample(sample: Sample, count: int) -> Sample:
    """`count` evenly spaced images of a sample."""
    rows = np.linspace(0, len(sample.truths) - 1, count).round().astype(int)
    return Sample(
        sample.pixels[rows],
        tuple(sample.truths[row] for row in rows),
        tuple(sample.names[row] for row in rows),
    )


def card_metrics(classifier: Classifier, data: str) -> Metrics:
    expected = {metrics.data: metrics for metrics in classifier.card.metrics}
    assert data in expected, f"the card of {classifier.card.version} has only {', '.join(expected)}"
    return expected[data]


def assert_reaches(metrics: Metrics, floors: Floors) -> None:
    assert metrics.accuracy >= floors.accuracy
    assert metrics.calibration_error <= floors.calibration_error
    for label, score in metrics.labels.items():
        assert (score.recall or 0) >= floors.recall, label
        if label in floors.precision:
            assert (score.precision or 0) >= floors.precision[label], label


def assert_similar(one: object, other: object, path: str = "metrics") -> None:
    """Check for equal keys, texts and counts, and for shares within 0.002: rounding on another
    processor may move an image to another bin."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_similar(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), path
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_similar(a, b, f"{path}.{number}")
    elif isinstance(one, float) and isinstance(other, float):
        assert one == pytest.approx(other, abs=0.002), path
    else:
        assert one == other, path


@pytest.mark.parametrize("version", VERSIONS)
class TestSyntheticImages:
    def test_both_backends_give_equal_probabilities(self, version: str) -> None:
        onnx, torch_ = (load(version, backend) for backend in ("onnx", "torch"))
        sample = subsample(
            synthetic_images(("cat", "dog", "koala"), range(14), onnx.card.input.side), 40
        )
        assert np.abs(predict(onnx, sample) - predict(torch_, sample)).max() <= TOLERANCE

    def test_a_version_reaches_its_floors(self, version: str) -> None:
        classifier = load(version)
        card = classifier.card
        sample = synthetic_images(card.labels, TEST_SEEDS[:100], card.input.side)
        metrics = evaluate(classifier, sample, "synthetic, test")
        assert_reaches(metrics, floors_for(ON_SYNTHETIC_IMAGES, version))

    def test_the_metrics_in_the_card_are_reproduced(self, version: str) -> None:
        classifier = load(version)
        expected = card_metrics(classifier, "synthetic, test")
        labels = (*classifier.card.labels, *expected.foreign)
        sample = synthetic_images(labels, TEST_SEEDS, classifier.card.input.side)
        found = evaluate(classifier, sample, "synthetic, test")
        assert_similar(found.model_dump(mode="json"), expected.model_dump(mode="json"))


@needs_photographs
@pytest.mark.parametrize("version", VERSIONS)
class TestPhotographs:
    def test_both_backends_give_equal_probabilities(self, version: str) -> None:
        onnx, torch_ = (load(version, backend) for backend in ("onnx", "torch"))
        sample = subsample(photographs(onnx.card.input.side), 60)
        assert np.abs(predict(onnx, sample) - predict(torch_, sample)).max() <= TOLERANCE

    def test_a_version_reaches_its_floors(self, version: str) -> None:
        assert_reaches(photograph_metrics(version), floors_for(ON_PHOTOGRAPHS, version))

    def test_unknown_labels_are_reported_separately(self, version: str) -> None:
        """For example v1 predicts cat or dog for a koala, and its other metrics exclude koalas."""
        labels = load(version).card.labels
        metrics = photograph_metrics(version)
        present = set(photographs(load(version).card.input.side).truths)
        assert set(metrics.foreign) == present - set(labels)
        for foreign in metrics.foreign.values():
            assert tuple(foreign.answers) == labels
            assert sum(foreign.answers.values()) == foreign.images > 0

    def test_the_metrics_in_the_card_are_reproduced(self, version: str) -> None:
        expected = card_metrics(load(version), "photographs, test")
        found = photograph_metrics(version)
        assert_similar(found.model_dump(mode="json"), expected.model_dump(mode="json"))


@needs_photographs
def test_v2_knows_koalas_and_v1_does_not() -> None:
    assert "koala" in photograph_metrics("v1").foreign
    assert "koala" in photograph_metrics("v2").labels
    assert photograph_metrics("v2").foreign == {}
