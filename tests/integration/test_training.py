"""`python -m training` from configuration to registry, on a few small images.

The photographs of these tests are synthetic images in a folder per class.
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
from models.samples import from_folder, from_synthetic
from models.synthetic import write_folder
from models.torch_backend import weights
from training import augment, checkpoint, cli, publish, run
from training.checkpoint import FILE, finished
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
GROWN = SMALL | {
    "version": "v2",
    "parent": "v1",
    "labels": ["cat", "dog", "koala"],
    "synthetic_per_class": 12,
    "learning_rate": 0.0001,
}
FEWER_SEEDS = {"VALIDATION_SEEDS": range(2_000_000, 2_000_008), "TEST_SEEDS": range(90, 98)}


@pytest.fixture(scope="module", autouse=True)
def _torch_as_before() -> Iterator[None]:
    """One thread, so that sums are the same in every process; training also sets a switch."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.use_deterministic_algorithms(strict)
    torch.set_num_threads(threads)


def written(path: Path, **changes: Any) -> Path:
    """The tiny configuration with changes, as a file."""
    path.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | changes))
    return path


def training(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "training", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True)
class Trained:
    """What `fit` and `publish` left, each run as a process of its own."""

    config: Path
    data: Path
    runs: Path
    registry: Path
    fitted: subprocess.CompletedProcess[str]
    published: subprocess.CompletedProcess[str]

    @property
    def options(self) -> tuple[str | Path, ...]:
        return ("--data", self.data, "--runs", self.runs, "--registry", self.registry)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cats and dogs to learn from; koalas among the test images alone."""
    folder = tmp_path_factory.mktemp("data")
    write_folder(folder / "train", 24, first_seed=100, labels=["cat", "dog"], size=64)
    write_folder(folder / "val", 8, first_seed=200, labels=["cat", "dog"], size=64)
    write_folder(folder / "test", 6, first_seed=300, size=64)
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Trained:
    """v1, trained and published from the command line."""
    folder = tmp_path_factory.mktemp("first")
    config = written(folder / "small.yaml", **PHOTOGRAPHS)
    registry, runs = folder / "registry", folder / "runs"
    options = ("--data", data, "--runs", runs, "--registry", registry)
    fitted = training("fit", config, *options, "--threads", "1")
    notice = folder / "notice.md"
    notice.write_text("Drawn by\nthe project itself.\n")
    published = training("publish", config, *options, "--notice", notice)
    return Trained(config, data, runs, registry, fitted, published)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestCommandLine:
    def test_fit_tells_every_epoch_and_how_to_go_on(self, first: Trained) -> None:
        assert first.fitted.returncode == 0, first.fitted.stderr
        *epochs, last = first.fitted.stdout.splitlines()
        assert [line.split("  loss")[0] for line in epochs] == [
            "epoch   1/3  32 px",
            "epoch   2/3  32 px",
            "epoch   3/3  48 px",
        ]
        assert last == (
            f"v1 is trained. Next: python -m training publish {first.config}"
            f" --runs {first.runs} --registry {first.registry} --data {first.data}"
        )

    def test_publish_tells_size_digest_and_accuracy(self, first: Trained) -> None:
        assert first.published.returncode == 0, first.published.stderr
        version = registries.load("v1", first.registry)
        (metrics,) = version.card.metrics
        assert first.published.stdout.splitlines()[-2:] == [
            f"{version.folder}: {version.size_bytes / 2**20:.1f} MiB, {version.card.digest}",
            f"  photographs, test: {metrics.accuracy:.4f} of 12",
        ]

    def test_nothing_but_the_version_is_left_in_the_registry(self, first: Trained) -> None:
        assert [path.name for path in first.registry.iterdir()] == ["v1"]
        assert {path.name for path in (first.registry / "v1").iterdir()} == {
            cards.FILE,
            *registries.REQUIRED_FILES,
            "curves.png",
            "confusion.png",
        }

    def test_no_published_file_tells_of_the_machine(self, first: Trained) -> None:
        """The exporter notes source files and lines; they must be gone."""
        places = (ROOT, Path(sys.prefix), first.registry, first.data)
        for name, data in contents(first.registry / "v1").items():
            told = [place for place in places if str(place).encode() + b"/" in data]
            assert told == [], name
            assert b"site-packages" not in data, name

    def test_the_card_tells_what_was_done(self, first: Trained) -> None:
        card = registries.load("v1", first.registry).card
        assert (card.labels, card.parent, card.input.side) == (("cat", "dog"), None, 48)
        assert (card.architecture.widths, card.architecture.depths) == ((8, 16), (1, 1))
        assert card.calibration.data == "photographs, val"
        assert (card.training.epochs, card.training.seed) == (3, 7)
        assert card.training.images == {"cat": 24, "dog": 24}
        assert card.training.synthetic_share == 0
        assert card.training.notice == "Drawn by the project itself."
        assert card.training.command == (
            "python -m training fit training/configs/small.yaml --data DIR"
        )
        (metrics,) = card.metrics
        assert (metrics.images, metrics.foreign["koala"].images) == (12, 6)

    def test_the_cards_metrics_are_those_of_the_published_network(self, first: Trained) -> None:
        classifier = load_classifier("v1", folder=first.registry)
        sample = from_folder(first.data / "test", ["cat", "dog", "koala"], 48)
        (metrics,) = classifier.card.metrics
        assert evaluate(classifier, sample, "photographs, test") == metrics

    def test_fit_of_a_finished_run_changes_nothing(
        self, first: Trained, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = (first.runs / "v1" / FILE).read_bytes()
        arguments = ["fit", str(first.config), *map(str, first.options)]
        cli.app(arguments, standalone_mode=False)
        assert capsys.readouterr().out.startswith("v1 is trained. Next: ")
        assert (first.runs / "v1" / FILE).read_bytes() == before

    def test_draw_fills_a_folder_per_class(self, tmp_path: Path) -> None:
        done = training("draw", tmp_path / "new", "--per-class", "2", "--size", "32")
        assert (done.returncode, done.stdout) == (0, f"6 synthetic images in {tmp_path / 'new'}\n")
        assert len(list((tmp_path / "new").glob("*/*.png"))) == 6


class TestRepeatability:
    def test_trained_again_every_published_byte_is_the_same(
        self, first: Trained, tmp_path: Path
    ) -> None:
        """By another process; only what was told of the run is taken from the first card."""
        config = load_config(first.config)
        run.train(config, first.data, tmp_path / "run", None)
        told = registries.load("v1", first.registry).card.training
        again = publish.publish(
            tmp_path / "run", first.data, tmp_path / "registry",
            told.command, told.notice, told.date,
        )  # fmt: skip
        one, other = contents(first.registry / "v1"), contents(again.folder)
        assert one.keys() == other.keys()
        assert [name for name in one if one[name] != other[name]] == []

    @pytest.mark.parametrize(
        ("module", "function", "calls"),
        [(checkpoint, "save", 1), (checkpoint, "save", 2), (augment, "mix", 5)],
        ids=["after epoch 1", "after epoch 2", "amid epoch 2"],
    )
    def test_interrupted_and_resumed_the_weights_are_the_same(
        self,
        first: Trained,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        module: Any,
        function: str,
        calls: int,
    ) -> None:
        config = load_config(first.config)
        with monkeypatch.context() as patched:
            patched.setattr(module, function, interrupting(getattr(module, function), calls))
            with pytest.raises(KeyboardInterrupt):
                run.train(config, first.data, tmp_path, None)
        history = run.train(config, first.data, tmp_path, None)
        assert [record.epoch for record in history] == [1, 2, 3]

        _, whole = finished(first.runs / "v1")
        _, resumed = finished(tmp_path)
        assert whole.keys() == resumed.keys()
        assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []

    def test_another_seed_leads_to_other_weights(self, first: Trained, tmp_path: Path) -> None:
        """Or the tests above would prove nothing."""
        config = load_config(first.config).model_copy(update={"seed": 8})
        run.train(config, first.data, tmp_path, None)
        _, one = finished(first.runs / "v1")
        _, other = finished(tmp_path)
        assert not torch.equal(one["head.weight"], other["head.weight"])


def interrupting(function: Callable[..., Any], calls: int) -> Callable[..., Any]:
    """The function, and Ctrl-C right after so many calls of it."""
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
def grown(first: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry of v1 with a v2 that grew from it, on synthetic images alone."""
    folder = tmp_path_factory.mktemp("grown")
    config = written(folder / "grown.yaml", **GROWN)
    options = ["--runs", str(folder / "runs"), "--registry", str(first.registry)]
    with pytest.MonkeyPatch.context() as patched:
        for name, seeds in FEWER_SEEDS.items():
            patched.setattr(run, name, seeds)
            patched.setattr(publish, name, seeds)
        cli.app(["fit", str(config), *options], standalone_mode=False)
        cli.app(["publish", str(config), *options], standalone_mode=False)
    return first.registry


class TestLineage:
    def test_the_card_names_the_parent_with_its_digest_and_all_labels(self, grown: Path) -> None:
        parent, card = (registries.load(version, grown).card for version in ("v1", "v2"))
        assert card.parent == Parent(version="v1", digest=parent.digest)
        assert card.labels == ("cat", "dog", "koala")
        assert card.calibration.data == "synthetic, val"
        assert [metrics.data for metrics in card.metrics] == ["synthetic, test"]
        assert card.metrics[0].labels["koala"].images == 8
        assert card.training.images == {}
        assert card.training.synthetic_share == 1
        assert card.training.notice == cli.UNSAID

    def test_the_parent_is_left_as_it_was(self, first: Trained, grown: Path) -> None:
        assert registries.names(grown) == ("v1", "v2")
        assert registries.load("v1", grown).card.digest in first.published.stdout

    def test_the_child_starts_from_its_parents_weights(self, grown: Path) -> None:
        """At so low a rate they hardly move; random ones would share nothing."""
        parent, child = (weights(registries.load(name, grown)) for name in ("v1", "v2"))
        assert child["head.weight"].shape[0] == parent["head.weight"].shape[0] + 1
        for name in ("features.0.0.weight", "head.weight"):
            old, new = parent[name], child[name][: len(parent[name])]
            assert (new - old).norm() < 0.1 * old.norm()
            assert not torch.equal(new, old)

    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_both_backends_answer_alike(self, grown: Path, version: str) -> None:
        onnx, torch_ = (load_classifier(version, b, grown) for b in ("onnx", "torch"))
        pixels = from_synthetic(["cat", "dog", "koala"], range(7), 48).pixels
        difference = np.abs(onnx.probabilities(pixels) - torch_.probabilities(pixels)).max()
        assert difference <= TOLERANCE


class TestErrors:
    """One line on stderr, exit 1, and nothing published."""

    @pytest.fixture
    def copied(self, data: Path, tmp_path: Path) -> Path:
        """The images, to spoil."""
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
        """Runs a command with a configuration in this process, and gives its error's text."""

        def told(command: str, *options: str | Path, **changes: Any) -> str:
            config = written(tmp_path / "config.yaml", **(PHOTOGRAPHS | changes))
            folders = ("--runs", tmp_path / "runs", "--registry", tmp_path / "registry")
            arguments = ["training", command, config, *folders, *options]
            monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
            with pytest.raises(SystemExit) as caught:
                cli.main()
            assert not list(tmp_path.glob("registry/v*"))
            assert capsys.readouterr().out == ""
            return the_error(
                f"{caught.value.code}\n"
            )  # Python writes it to stderr and exits with 1

        return told

    @pytest.mark.parametrize("part", PARTS)
    def test_an_unknown_class(self, error: Callable[..., str], copied: Path, part: str) -> None:
        (copied / part / "wombat").mkdir()
        assert error("fit", "--data", copied).startswith(
            f"unknown class 'wombat' in {copied / part}; known are cat, dog, koala: remove the"
        )

    @pytest.mark.parametrize("part", ["train", "val"])
    def test_an_empty_class(self, error: Callable[..., str], copied: Path, part: str) -> None:
        for path in (copied / part / "dog").iterdir():
            path.unlink()
        expected = f"class 'dog' is empty: expected images in {copied / part / 'dog'}"
        assert error("fit", "--data", copied) == expected

    @pytest.mark.parametrize("part", PARTS)
    def test_a_missing_part(self, error: Callable[..., str], copied: Path, part: str) -> None:
        (copied / part).rename(copied / "elsewhere")
        assert error("fit", "--data", copied).startswith(f"{copied / part} is not a folder")

    @pytest.mark.parametrize("part", ["train", "val"])
    def test_an_unreadable_file(self, error: Callable[..., str], copied: Path, part: str) -> None:
        path = copied / part / "cat" / "notes.txt"
        path.write_text("a note, not an image")
        text = error("fit", "--data", copied)
        assert text.startswith(f"{path} is no image that we read: ")

    def test_photographs_that_are_not_named(self, error: Callable[..., str]) -> None:
        expected = "v1 learns from photographs: name their folder with --data"
        assert error("fit") == expected

    def test_a_label_that_nobody_can_draw(self, error: Callable[..., str]) -> None:
        changes = {"labels": ["cat", "wombat"], "photographs": False, "synthetic_per_class": 5}
        assert error("fit", **changes).startswith("nobody can draw wombat: ")

    def test_a_parent_that_is_not_there(self, error: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "registry").mkdir()
        assert error("fit", version="v2", parent="v1").startswith("unknown version 'v1'; ")

    def test_labels_that_do_not_begin_with_the_parents(
        self, error: Callable[..., str], first: Trained
    ) -> None:
        changes: dict[str, Any] = {"version": "v2", "parent": "v1", "ignored_labels": []}
        changes["labels"] = ["dog", "cat", "koala"]
        changes |= {"photographs": False, "synthetic_per_class": 8}
        expected = "labels are dog, cat, koala; they must begin with the parent's, cat, dog"
        assert error("fit", "--registry", first.registry, **changes) == expected

    def test_a_run_that_has_not_begun(self, error: Callable[..., str], data: Path) -> None:
        assert error("publish", "--data", data).endswith("run `python -m training fit` first")

    @pytest.mark.parametrize("changes", [{}, {"seed": 99}])
    def test_a_run_of_other_photographs_or_another_configuration(
        self, error: Callable[..., str], first: Trained, copied: Path, changes: dict[str, int]
    ) -> None:
        text = error("fit", "--runs", first.runs, "--data", copied, **changes)
        what = "configuration" if changes else "photographs"
        path = first.runs / "v1" / FILE
        assert text.startswith(f"{path} belongs to a run with another {what}: remove it")

    def test_a_finished_run_published_without_its_photographs(
        self, error: Callable[..., str], first: Trained
    ) -> None:
        expected = "v1 learns from photographs: name their folder with --data"
        assert error("publish", "--runs", first.runs) == expected

    def test_too_few_images_for_a_batch(self, error: Callable[..., str], copied: Path) -> None:
        expected = "6 images do not fill a batch of 16: lower `batch`"
        assert error("fit", "--data", copied) == expected

    def test_a_network_unlike_the_parents(
        self, error: Callable[..., str], first: Trained, data: Path
    ) -> None:
        changes = {"version": "v2", "parent": "v1", "labels": ["cat", "dog"], "widths": [8, 12]}
        options = ("--registry", first.registry, "--data", data)
        assert error("fit", *options, **changes).endswith("a child has its parent's network")

    def test_a_configuration_that_says_too_much(self, error: Callable[..., str]) -> None:
        text = error("fit", colour="grey")
        assert text.endswith("config.yaml: colour: Extra inputs are not permitted")

    def test_a_missing_configuration(self, tmp_path: Path) -> None:
        """As a process, for its exit code and its streams."""
        done = training("fit", tmp_path / "none.yaml")
        assert (done.returncode, done.stdout) == (1, "")
        path = tmp_path / "none.yaml"
        expected = f"cannot read the configuration {path}: No such file or directory"
        assert the_error(done.stderr) == expected


def the_error(stderr: str) -> str:
    """The one line that is left when progress bars have been wiped out."""
    line = stderr.rsplit("\r", 1)[-1]
    assert line.startswith("Error: ")
    assert line.endswith("\n")
    assert line.count("\n") == 1
    return line.removeprefix("Error: ").removesuffix("\n")
