"""`python -m training` from configuration to registry, on a few small images.

The tests use synthetic images as photographs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from models import card as cards
from models import registry as registries
from models.card import Parent
from models.classifier import load as load_classifier
from models.evaluation import evaluate
from models.samples import read_folder, synthesize_sample
from models.synthetic import write_folder
from models.torch_backend import load_weights
from training import augment, checkpoint, cli, publish, run
from training.checkpoint import FILE, load_finished
from training.config import load as load_config
from training.export import TOLERANCE

ROOT = Path(__file__).parents[2]
TINY = ROOT / "training" / "configs" / "tiny.yaml"
SMALL = {
    "version": "v1",
    "widths": [8, 16],
    "depths": [1, 1],
    "serving_side": 48,
    "batch": 16,
    "phases": [{"epochs": 2, "side": 32}, {"epochs": 1, "side": 48}],
}
PHOTOGRAPHS = SMALL | {
    "ignored_labels": ["koala"],
    "photographs": True,
    "synthetic_per_class": 0,
}
PARTS = ("train", "val", "test")
CHILD = SMALL | {
    "version": "v2",
    "parent": "v1",
    "labels": ["cat", "dog", "koala"],
    "synthetic_per_class": 12,
    "learning_rate": 0.0001,
}
FEWER_SEEDS = {"VALIDATION_SEEDS": range(2_000_000, 2_000_008), "TEST_SEEDS": range(90, 98)}


@pytest.fixture(scope="module", autouse=True)
def _restore_torch_state() -> Iterator[None]:
    """Use one thread, for reproducible sums, and restore the settings that training changes."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.use_deterministic_algorithms(strict)
    torch.set_num_threads(threads)


def write_config(path: Path, **changes: Any) -> Path:
    """Write the tiny configuration, with changes, to a file."""
    path.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | changes))
    return path


def run_training(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "training", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True)
class TrainedVersion:
    """Results of `fit` and `publish`, each run in a separate process."""

    config: Path
    data: Path
    runs: Path
    registry: Path
    fit_result: subprocess.CompletedProcess[str]
    publish_result: subprocess.CompletedProcess[str]

    @property
    def options(self) -> tuple[str | Path, ...]:
        return ("--data", self.data, "--runs", self.runs, "--registry", self.registry)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cats and dogs; koalas only in the test images."""
    folder = tmp_path_factory.mktemp("data")
    write_folder(folder / "train", 24, first_seed=100, labels=["cat", "dog"], size=64)
    write_folder(folder / "val", 8, first_seed=200, labels=["cat", "dog"], size=64)
    write_folder(folder / "test", 6, first_seed=300, size=64)
    return folder


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory, data: Path) -> TrainedVersion:
    """v1, trained and published from the command line."""
    folder = tmp_path_factory.mktemp("v1")
    config = write_config(folder / "small.yaml", **PHOTOGRAPHS)
    registry, runs = folder / "registry", folder / "runs"
    options = ("--data", data, "--runs", runs, "--registry", registry)
    fit_result = run_training("fit", config, *options, "--threads", "1")
    notice = folder / "notice.md"
    notice.write_text("Synthetic images\nof this project.\n")
    publish_result = run_training("publish", config, *options, "--notice", notice)
    return TrainedVersion(config, data, runs, registry, fit_result, publish_result)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestCommandLine:
    def test_fit_prints_each_epoch_and_the_next_command(self, v1: TrainedVersion) -> None:
        assert v1.fit_result.returncode == 0, v1.fit_result.stderr
        *epochs, last = v1.fit_result.stdout.splitlines()
        assert [line.split("  loss")[0] for line in epochs] == [
            "epoch   1/3  32 px",
            "epoch   2/3  32 px",
            "epoch   3/3  48 px",
        ]
        assert last == (
            f"v1 is trained. Next: python -m training publish {v1.config}"
            f" --runs {v1.runs} --registry {v1.registry} --data {v1.data}"
        )

    def test_publish_prints_size_digest_and_accuracy(self, v1: TrainedVersion) -> None:
        assert v1.publish_result.returncode == 0, v1.publish_result.stderr
        version = registries.load("v1", v1.registry)
        (metrics,) = version.card.metrics
        assert v1.publish_result.stdout.splitlines()[-2:] == [
            f"{version.folder}: {version.size_bytes / 2**20:.1f} MiB, {version.card.digest}",
            f"  photographs, test: {metrics.accuracy:.4f} of 12",
        ]

    def test_the_registry_contains_only_the_version(self, v1: TrainedVersion) -> None:
        assert [path.name for path in v1.registry.iterdir()] == ["v1"]
        assert {path.name for path in (v1.registry / "v1").iterdir()} == {
            cards.FILE,
            *registries.REQUIRED_FILES,
            "curves.png",
            "confusion.png",
        }

    def test_no_published_file_contains_paths_of_the_machine(self, v1: TrainedVersion) -> None:
        """The exporter writes source files and lines, which must be removed."""
        paths = (ROOT, Path(sys.prefix), v1.registry, v1.data)
        for name, data in contents(v1.registry / "v1").items():
            found = [path for path in paths if str(path).encode() + b"/" in data]
            assert found == [], name
            assert b"site-packages" not in data, name

    def test_the_card_describes_the_run(self, v1: TrainedVersion) -> None:
        card = registries.load("v1", v1.registry).card
        assert (card.labels, card.parent, card.input.side) == (("cat", "dog"), None, 48)
        assert (card.architecture.widths, card.architecture.depths) == ((8, 16), (1, 1))
        assert card.calibration.data == "photographs, val"
        assert (card.training.epochs, card.training.seed) == (3, 7)
        assert card.training.images == {"cat": 24, "dog": 24}
        assert card.training.synthetic_share == 0
        assert card.training.notice == "Synthetic images of this project."
        assert card.training.command == (
            "python -m training fit training/configs/small.yaml --data DIR"
        )
        (metrics,) = card.metrics
        assert (metrics.images, metrics.foreign["koala"].images) == (12, 6)

    def test_the_metrics_in_the_card_are_those_of_the_published_network(
        self, v1: TrainedVersion
    ) -> None:
        classifier = load_classifier("v1", folder=v1.registry)
        sample = read_folder(v1.data / "test", ["cat", "dog", "koala"], 48)
        (metrics,) = classifier.card.metrics
        assert evaluate(classifier, sample, "photographs, test") == metrics

    def test_fit_of_a_finished_run_does_not_change_the_checkpoint(
        self, v1: TrainedVersion, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = (v1.runs / "v1" / FILE).read_bytes()
        arguments = ["fit", str(v1.config), *map(str, v1.options)]
        cli.app(arguments, standalone_mode=False)
        assert capsys.readouterr().out.startswith("v1 is trained. Next: ")
        assert (v1.runs / "v1" / FILE).read_bytes() == before

    def test_synthesize_writes_a_folder_per_class(self, tmp_path: Path) -> None:
        done = run_training("synthesize", tmp_path / "new", "--per-class", "2", "--size", "32")
        assert (done.returncode, done.stdout) == (0, f"6 synthetic images in {tmp_path / 'new'}\n")
        assert len(list((tmp_path / "new").glob("*/*.png"))) == 6


class TestRepeatability:
    def test_training_again_publishes_identical_files(
        self, v1: TrainedVersion, tmp_path: Path
    ) -> None:
        """In another process; command, notice and date come from the first card."""
        config = load_config(v1.config)
        run.train(config, v1.data, tmp_path / "run", None)
        record = registries.load("v1", v1.registry).card.training
        again = publish.publish(
            tmp_path / "run", v1.data, tmp_path / "registry",
            record.command, record.notice, record.date,
        )  # fmt: skip
        one, other = contents(v1.registry / "v1"), contents(again.folder)
        assert one.keys() == other.keys()
        assert [name for name in one if one[name] != other[name]] == []

    @pytest.mark.parametrize(
        ("module", "function", "calls"),
        [(checkpoint, "save", 1), (checkpoint, "save", 2), (augment, "mix", 5)],
        ids=["after epoch 1", "after epoch 2", "during epoch 2"],
    )
    def test_a_resumed_run_has_the_same_weights_as_an_uninterrupted_one(
        self,
        v1: TrainedVersion,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        module: Any,
        function: str,
        calls: int,
    ) -> None:
        config = load_config(v1.config)
        with monkeypatch.context() as patched:
            patched.setattr(module, function, interrupt_after(getattr(module, function), calls))
            with pytest.raises(KeyboardInterrupt):
                run.train(config, v1.data, tmp_path, None)
        history = run.train(config, v1.data, tmp_path, None)
        assert [record.epoch for record in history] == [1, 2, 3]

        _, uninterrupted = load_finished(v1.runs / "v1")
        _, resumed = load_finished(tmp_path)
        assert uninterrupted.keys() == resumed.keys()
        assert [
            name for name in uninterrupted if not torch.equal(uninterrupted[name], resumed[name])
        ] == []

    def test_another_seed_gives_other_weights(self, v1: TrainedVersion, tmp_path: Path) -> None:
        """Checks that the tests above can fail."""
        config = load_config(v1.config).model_copy(update={"seed": 8})
        run.train(config, v1.data, tmp_path, None)
        _, one = load_finished(v1.runs / "v1")
        _, other = load_finished(tmp_path)
        assert not torch.equal(one["head.weight"], other["head.weight"])


def interrupt_after(function: Callable[..., Any], calls: int) -> Callable[..., Any]:
    """Wrap `function` to raise KeyboardInterrupt after its `calls`-th call."""
    left = calls

    def wrapped(*args: Any, **options: Any) -> Any:
        nonlocal left
        result = function(*args, **options)
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return result

    return wrapped


@pytest.fixture(scope="module")
def registry_with_v2(v1: TrainedVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry of v1 with its child v2, trained on synthetic images only."""
    folder = tmp_path_factory.mktemp("v2")
    config = write_config(folder / "v2.yaml", **CHILD)
    options = ["--runs", str(folder / "runs"), "--registry", str(v1.registry)]
    with pytest.MonkeyPatch.context() as patched:
        for name, seeds in FEWER_SEEDS.items():
            patched.setattr(run, name, seeds)
            patched.setattr(publish, name, seeds)
        cli.app(["fit", str(config), *options], standalone_mode=False)
        cli.app(["publish", str(config), *options], standalone_mode=False)
    return v1.registry


class TestLineage:
    def test_the_card_has_the_parent_with_its_digest_and_all_labels(
        self, registry_with_v2: Path
    ) -> None:
        parent, card = (registries.load(version, registry_with_v2).card for version in ("v1", "v2"))
        assert card.parent == Parent(version="v1", digest=parent.digest)
        assert card.labels == ("cat", "dog", "koala")
        assert card.calibration.data == "synthetic, val"
        assert [metrics.data for metrics in card.metrics] == ["synthetic, test"]
        assert card.metrics[0].labels["koala"].images == 8
        assert card.training.images == {}
        assert card.training.synthetic_share == 1
        assert card.training.notice == cli.NO_NOTICE

    def test_the_parent_is_not_modified(self, v1: TrainedVersion, registry_with_v2: Path) -> None:
        assert registries.names(registry_with_v2) == ("v1", "v2")
        assert registries.load("v1", registry_with_v2).card.digest in v1.publish_result.stdout

    def test_the_child_starts_from_its_parents_weights(self, registry_with_v2: Path) -> None:
        """The learning rate is so low that the weights hardly change."""
        parent, child = (
            load_weights(registries.load(name, registry_with_v2)) for name in ("v1", "v2")
        )
        assert child["head.weight"].shape[0] == parent["head.weight"].shape[0] + 1
        for name in ("features.0.0.weight", "head.weight"):
            old, new = parent[name], child[name][: len(parent[name])]
            assert (new - old).norm() < 0.1 * old.norm()
            assert not torch.equal(new, old)

    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_both_backends_give_equal_probabilities(
        self, registry_with_v2: Path, version: str
    ) -> None:
        onnx, torch_ = (load_classifier(version, b, registry_with_v2) for b in ("onnx", "torch"))
        pixels = synthesize_sample(["cat", "dog", "koala"], range(7), 48).pixels
        difference = np.abs(onnx.probabilities(pixels) - torch_.probabilities(pixels)).max()
        assert difference <= TOLERANCE


class TestErrors:
    """One line on stderr, exit 1, and nothing published."""

    @pytest.fixture
    def data_copy(self, data: Path, tmp_path: Path) -> Path:
        """A copy of the images, for tests that damage it."""
        folder = tmp_path / "data"
        for part in PARTS:
            for path in (data / part).glob("*/*1.png"):
                target = folder / path.relative_to(data)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
        return folder

    @pytest.fixture
    def error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> Callable[..., str]:
        """Run a command with a changed configuration in this process; return its error text."""

        def run_command(command: str, *options: str | Path, **changes: Any) -> str:
            config = write_config(tmp_path / "config.yaml", **(PHOTOGRAPHS | changes))
            folders = ("--runs", tmp_path / "runs", "--registry", tmp_path / "registry")
            arguments = ["training", command, config, *folders, *options]
            monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
            with pytest.raises(SystemExit) as caught:
                cli.main()
            assert not list(tmp_path.glob("registry/v*"))
            assert capsys.readouterr().out == ""
            return error_text(
                f"{caught.value.code}\n"
            )  # Python writes it to stderr and exits with 1

        return run_command

    @pytest.mark.parametrize("part", PARTS)
    def test_an_unknown_class(self, error: Callable[..., str], data_copy: Path, part: str) -> None:
        (data_copy / part / "wombat").mkdir()
        assert error("fit", "--data", data_copy).startswith(
            f"unknown class 'wombat' in {data_copy / part}; known are cat, dog, koala: remove the"
        )

    @pytest.mark.parametrize("part", ["train", "val"])
    def test_an_empty_class(self, error: Callable[..., str], data_copy: Path, part: str) -> None:
        for path in (data_copy / part / "dog").iterdir():
            path.unlink()
        expected = f"class 'dog' is empty: expected images in {data_copy / part / 'dog'}"
        assert error("fit", "--data", data_copy) == expected

    @pytest.mark.parametrize("part", PARTS)
    def test_a_missing_part(self, error: Callable[..., str], data_copy: Path, part: str) -> None:
        (data_copy / part).rename(data_copy / "elsewhere")
        assert error("fit", "--data", data_copy).startswith(f"{data_copy / part} is not a folder")

    @pytest.mark.parametrize("part", ["train", "val"])
    def test_an_unreadable_file(
        self, error: Callable[..., str], data_copy: Path, part: str
    ) -> None:
        path = data_copy / part / "cat" / "notes.txt"
        path.write_text("a note, not an image")
        text = error("fit", "--data", data_copy)
        assert text.startswith(f"{path} cannot be read as an image: ")

    def test_a_missing_data_option(self, error: Callable[..., str]) -> None:
        expected = "v1 is trained on photographs: pass their folder with --data"
        assert error("fit") == expected

    def test_a_label_that_cannot_be_synthesized(self, error: Callable[..., str]) -> None:
        changes = {"labels": ["cat", "wombat"], "photographs": False, "synthetic_per_class": 5}
        assert error("fit", **changes).startswith("cannot synthesize wombat: ")

    def test_a_missing_parent(self, error: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "registry").mkdir()
        assert error("fit", version="v2", parent="v1").startswith("unknown version 'v1'; ")

    def test_labels_that_do_not_start_with_the_parents(
        self, error: Callable[..., str], v1: TrainedVersion
    ) -> None:
        changes: dict[str, Any] = {"version": "v2", "parent": "v1", "ignored_labels": []}
        changes["labels"] = ["dog", "cat", "koala"]
        changes |= {"photographs": False, "synthetic_per_class": 8}
        expected = "labels are dog, cat, koala; they must start with the parent's, cat, dog"
        assert error("fit", "--registry", v1.registry, **changes) == expected

    def test_publish_before_fit(self, error: Callable[..., str], data: Path) -> None:
        assert error("publish", "--data", data).endswith("run `python -m training fit` first")

    @pytest.mark.parametrize("changes", [{}, {"seed": 99}])
    def test_a_checkpoint_of_other_photographs_or_another_configuration(
        self,
        error: Callable[..., str],
        v1: TrainedVersion,
        data_copy: Path,
        changes: dict[str, int],
    ) -> None:
        text = error("fit", "--runs", v1.runs, "--data", data_copy, **changes)
        what = "configuration" if changes else "photographs"
        path = v1.runs / "v1" / FILE
        assert text.startswith(f"{path} belongs to a run with another {what}: remove it")

    def test_publish_without_the_photographs(
        self, error: Callable[..., str], v1: TrainedVersion
    ) -> None:
        expected = "v1 is trained on photographs: pass their folder with --data"
        assert error("publish", "--runs", v1.runs) == expected

    def test_too_few_images_for_a_batch(self, error: Callable[..., str], data_copy: Path) -> None:
        expected = "6 images do not fill a batch of 16: lower `batch`"
        assert error("fit", "--data", data_copy) == expected

    def test_a_network_that_differs_from_the_parents(
        self, error: Callable[..., str], v1: TrainedVersion, data: Path
    ) -> None:
        changes = {"version": "v2", "parent": "v1", "labels": ["cat", "dog"], "widths": [8, 12]}
        options = ("--registry", v1.registry, "--data", data)
        assert error("fit", *options, **changes).endswith("a child must have its parent's network")

    def test_an_unknown_key_in_the_configuration(self, error: Callable[..., str]) -> None:
        text = error("fit", colour="grey")
        assert "config.yaml: colour is not a key here: the keys are version, " in text

    def test_a_missing_configuration(self, tmp_path: Path) -> None:
        """In a separate process, to check exit code and streams."""
        done = run_training("fit", tmp_path / "none.yaml")
        assert (done.returncode, done.stdout) == (1, "")
        path = tmp_path / "none.yaml"
        expected = f"cannot read the configuration {path}: No such file or directory"
        assert error_text(done.stderr) == expected


def error_text(stderr: str) -> str:
    """The error line on stderr, after the progress bars."""
    line = stderr.rsplit("\r", 1)[-1]
    assert line.startswith("Error: ")
    assert line.endswith("\n")
    assert line.count("\n") == 1
    return line.removeprefix("Error: ").removesuffix("\n")
