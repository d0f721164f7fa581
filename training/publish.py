"""Publish a finished run: calibrate, evaluate, export, verify, write to the registry."""

from __future__ import annotations

import hashlib
import shutil
import sys
from importlib.metadata import version as library_version
from pathlib import Path

import numpy as np
from safetensors.torch import save as safetensors_bytes

from models import card as cards
from models.card import Architecture, Calibration, Card, Input, Training
from models.classifier import Backend, open_version
from models.evaluation import evaluate, predict
from models.registry import MODEL_CARD_FILE, ONNX_FILE, WEIGHTS_FILE, Version
from models.samples import Sample, class_folders, read_folder, synthesize_sample
from models.synthetic import LABELS as SYNTHETIC_LABELS
from training import plots
from training.calibrate import calibrate
from training.checkpoint import Run, load_finished
from training.config import Config
from training.errors import TrainingError
from training.export import (
    TOLERANCE,
    build_network,
    export_onnx,
    largest_difference,
    reference_logits,
)
from training.model_card import markdown
from training.run import TEST_SEEDS, VALIDATION_SEEDS, photographs_folder, synthetic_labels

MAX_BYTES = 16 * 2**20
LIBRARIES = ("torch", "onnx", "onnxruntime", "numpy", "pillow")


def publish(
    run_folder: Path, data: Path | None, registry: Path, command: str, notice: str, date: str
) -> Version:
    """Publish a finished run to a registry; replaces an older folder of the same version.

    Args:
        run_folder: Folder of the run's checkpoint.
        data: Folder of photographs with `val/` and `test/`; None: synthetic images only.
        command: Command that trains the version again.
        notice: Origin and licence of the training data.
        date: ISO 8601 day.

    Raises:
        TrainingError: The run is not finished, the export differs, or the version is too large.
        BadData: The data cannot be used.
    """
    run, weights = load_finished(run_folder)
    config = run.config
    data = photographs_folder(config, data)
    network = build_network(weights, config.widths, config.depths)
    validation, domain = _calibration_sample(config, data)
    targets = np.array([config.labels.index(truth) for truth in validation.truths])
    temperature, biases = calibrate(reference_logits(network, validation.pixels), targets)
    draft = Card(
        version=config.version,
        labels=config.labels,
        parent=run.origin.parent,
        architecture=Architecture(widths=config.widths, depths=config.depths),
        input=Input(side=config.serving_side),
        calibration=Calibration(temperature=temperature, biases=biases, data=domain),
        metrics=(),
        training=_training_record(run, command, notice, date),
        files={},
    )
    files = {
        ONNX_FILE: export_onnx(network, config.serving_side, config.labels),
        WEIGHTS_FILE: safetensors_bytes(weights),
    }
    unverified = Version(run_folder, draft, files)
    samples = _test_samples(config, data)
    for name, sample in samples.items():
        _check_backends_agree(unverified, sample, name)
    classifier = open_version(unverified)
    metrics = tuple(evaluate(classifier, sample, name) for name, sample in samples.items())
    evaluated = draft.model_copy(update={"metrics": metrics})
    files |= {
        "curves.png": plots.plot_learning_curves(run.history),
        "confusion.png": plots.plot_confusion(metrics[0], config.labels),
        MODEL_CARD_FILE: markdown(evaluated).encode(),
    }
    return _write(evaluated, files, registry)


def _calibration_sample(config: Config, data: Path | None) -> tuple[Sample, str]:
    if data is not None:
        return read_folder(data / "val", config.labels, config.serving_side), "photographs, val"
    synthetic_images = synthesize_sample(
        synthetic_labels(config), VALIDATION_SEEDS, config.serving_side
    )
    return synthetic_images, "synthetic, val"


def _test_samples(config: Config, data: Path | None) -> dict[str, Sample]:
    """Test samples by name, with images of labels that the version does not know."""
    samples: dict[str, Sample] = {}
    if data is not None:
        test = data / "test"
        samples["photographs, test"] = read_folder(test, class_folders(test), config.serving_side)
    if config.effective_synthetic_share:
        foreign = [label for label in config.ignored_labels if label in SYNTHETIC_LABELS]
        labels = (*synthetic_labels(config), *foreign)
        samples["synthetic, test"] = synthesize_sample(labels, TEST_SEEDS, config.serving_side)
    return samples


def _check_backends_agree(version: Version, sample: Sample, name: str) -> None:
    backends: tuple[Backend, ...] = ("onnx", "torch")
    one, other = (predict(open_version(version, backend), sample) for backend in backends)
    difference = largest_difference(one, other)
    if difference > TOLERANCE:
        raise TrainingError(
            f"the ONNX export differs from torch by {difference:.2g} on {name};"
            f" the limit is {TOLERANCE}"
        )


def _training_record(run: Run, command: str, notice: str, date: str) -> Training:
    config = run.config
    return Training(
        command=command,
        date=date,
        seed=config.seed,
        epochs=config.epochs,
        images=run.origin.photographs,
        balance=config.balance,
        synthetic_share=config.effective_synthetic_share,
        libraries={
            "python": ".".join(str(part) for part in sys.version_info[:3]),
            **{name: library_version(name) for name in LIBRARIES},
        },
        notice=notice,
    )


def _write(card: Card, files: dict[str, bytes], registry: Path) -> Version:
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    final = card.model_copy(update={"files": digests}).with_digest()
    size = sum(len(data) for data in files.values())
    if size > MAX_BYTES:
        raise TrainingError(f"{card.version} has {size} bytes; the limit is {MAX_BYTES}")
    folder = registry / card.version
    unfinished, replaced = (registry / f".{card.version}.{state}" for state in ("new", "old"))
    for leftover in (unfinished, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, data in (files | {cards.FILE: final.text().encode()}).items():
        (unfinished / name).write_bytes(data)
    if folder.exists():
        folder.rename(replaced)
    unfinished.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)
    return Version(folder, final, files)
