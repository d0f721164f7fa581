"""What the shipped versions can do: on synthetic images, and on photographs where there are some.

The environment variable SERVE_APP_PHOTOS names a folder with `test/`, a folder per class in it.
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
from models.evaluation import answers, evaluate
from models.samples import Sample, class_folders, from_folder, from_synthetic
from training.export import TOLERANCE
from training.run import TEST_SEEDS

PHOTOS = os.environ.get("SERVE_APP_PHOTOS", "")
needs_photographs = pytest.mark.skipif(
    not PHOTOS, reason="SERVE_APP_PHOTOS names no folder of photographs"
)


@dataclass(frozen=True)
class Floors:
    """The least that a version must reach, of the labels that it knows."""

    accuracy: float
    recall: float = 0.0  # of every label
    precision: dict[str, float] = field(default_factory=dict)  # by label
    calibration_error: float = 1.0  # at most


ON_PHOTOGRAPHS = {
    "v1": Floors(accuracy=0.90, calibration_error=0.05),
    "v2": Floors(accuracy=0.89, recall=0.85, precision={"koala": 0.85}, calibration_error=0.05),
}
ON_DRAWINGS = {"v1": Floors(accuracy=0.97), "v2": Floors(accuracy=0.97)}
VERSIONS = registry.names()


def floors_of(table: dict[str, Floors], version: str) -> Floors:
    """A version that the table does not name must do as well as the last that it names."""
    return table.get(version, list(table.values())[-1])


@pytest.fixture(scope="module", autouse=True)
def _threads_as_before() -> Iterator[None]:
    """The torch backend sets them for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@cache
def synthetic_images(labels: tuple[str, ...], seeds: range, side: int) -> Sample:
    return from_synthetic(labels, seeds, side)


@cache
def photographs(side: int) -> Sample:
    """All test photographs, of the labels that a version does not know too."""
    folder = Path(PHOTOS) / "test"
    return from_folder(folder, class_folders(folder), side)


@cache
def on_photographs(version: str) -> Metrics:
    classifier = load(version)
    return evaluate(classifier, photographs(classifier.card.input.side), "photographs, test")


def some_of(sample: Sample, count: int) -> Sample:
    """Some of a sample, evenly from all of it."""
    rows = np.linspace(0, len(sample.truths) - 1, count).round().astype(int)
    return Sample(
        sample.pixels[rows],
        tuple(sample.truths[row] for row in rows),
        tuple(sample.names[row] for row in rows),
    )


def card_metrics(classifier: Classifier, data: str) -> Metrics:
    told = {metrics.data: metrics for metrics in classifier.card.metrics}
    assert data in told, f"the card of {classifier.card.version} tells of {', '.join(told)} alone"
    return told[data]


def assert_reaches(metrics: Metrics, floors: Floors) -> None:
    assert metrics.accuracy >= floors.accuracy
    assert metrics.calibration_error <= floors.calibration_error
    for label, score in metrics.labels.items():
        assert (score.recall or 0) >= floors.recall, label
        if label in floors.precision:
            assert (score.precision or 0) >= floors.precision[label], label


def assert_equal(one: object, other: object, path: str = "metrics") -> None:
    """The same keys, texts and counts; shares within 0.002, for another processor's rounding may
    move an image across the edge of a bin."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_equal(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), path
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{path}.{number}")
    elif isinstance(one, float) and isinstance(other, float):
        assert one == pytest.approx(other, abs=0.002), path
    else:
        assert one == other, path


@pytest.mark.parametrize("version", VERSIONS)
class TestDrawings:
    def test_both_backends_answer_alike(self, version: str) -> None:
        onnx, torch_ = (load(version, backend) for backend in ("onnx", "torch"))
        sample = some_of(
            synthetic_images(("cat", "dog", "koala"), range(14), onnx.card.input.side), 40
        )
        assert np.abs(answers(onnx, sample) - answers(torch_, sample)).max() <= TOLERANCE

    def test_it_reaches_its_floors(self, version: str) -> None:
        classifier = load(version)
        card = classifier.card
        sample = synthetic_images(card.labels, TEST_SEEDS[:100], card.input.side)
        metrics = evaluate(classifier, sample, "synthetic, test")
        assert_reaches(metrics, floors_of(ON_DRAWINGS, version))

    def test_its_card_tells_what_it_does(self, version: str) -> None:
        classifier = load(version)
        told = card_metrics(classifier, "synthetic, test")
        drawn = (*classifier.card.labels, *told.foreign)
        sample = synthetic_images(drawn, TEST_SEEDS, classifier.card.input.side)
        found = evaluate(classifier, sample, "synthetic, test")
        assert_equal(found.model_dump(mode="json"), told.model_dump(mode="json"))


@needs_photographs
@pytest.mark.parametrize("version", VERSIONS)
class TestPhotographs:
    def test_both_backends_answer_alike(self, version: str) -> None:
        onnx, torch_ = (load(version, backend) for backend in ("onnx", "torch"))
        sample = some_of(photographs(onnx.card.input.side), 60)
        assert np.abs(answers(onnx, sample) - answers(torch_, sample)).max() <= TOLERANCE

    def test_it_reaches_its_floors(self, version: str) -> None:
        assert_reaches(on_photographs(version), floors_of(ON_PHOTOGRAPHS, version))

    def test_it_is_never_right_on_a_label_that_it_does_not_know(self, version: str) -> None:
        """Such as v1 on koalas: it answers one of its own labels, and the figures leave it out."""
        labels = load(version).card.labels
        metrics = on_photographs(version)
        shown = set(photographs(load(version).card.input.side).truths)
        assert set(metrics.foreign) == shown - set(labels)
        for answered in metrics.foreign.values():
            assert tuple(answered.answers) == labels
            assert sum(answered.answers.values()) == answered.images > 0

    def test_its_card_tells_what_it_does(self, version: str) -> None:
        told = card_metrics(load(version), "photographs, test")
        found = on_photographs(version)
        assert_equal(found.model_dump(mode="json"), told.model_dump(mode="json"))


@needs_photographs
def test_v1_does_not_know_koalas_and_v2_does() -> None:
    """What the change of versions is about."""
    assert "koala" in on_photographs("v1").foreign
    assert "koala" in on_photographs("v2").labels
    assert on_photographs("v2").foreign == {}
