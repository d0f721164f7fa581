from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.synthetic import LABELS as SYNTHETIC_LABELS
from training import config as configs
from training.config import Config, Phase, load
from training.errors import TrainingError

SHIPPED = sorted((Path(configs.__file__).parent / "configs").glob("*.yaml"))
MINIMAL: dict[str, Any] = {
    "version": "v1",
    "labels": ["cat", "dog"],
    "phases": [{"epochs": 2, "side": 48}, {"epochs": 3, "side": 64}],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def rejection(path: Path) -> str:
    with pytest.raises(TrainingError) as caught:
        load(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


class TestShipped:
    def test_there_are_shipped_configurations(self) -> None:
        assert SHIPPED

    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
    def test_it_loads(self, path: Path) -> None:
        config = load(path)
        assert config.epochs == sum(phase.epochs for phase in config.phases)
        assert set(config.labels) <= set(SYNTHETIC_LABELS)

    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
    def test_it_starts_with_its_command(self, path: Path) -> None:
        assert f"#   python -m training fit training/configs/{path.name}" in path.read_text()

    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
    def test_a_child_is_compatible_with_its_parent(self, path: Path) -> None:
        """The parent's weights must fit."""
        config = load(path)
        if config.parent is not None:
            parent = load(path.with_name(f"{config.parent}.yaml"))
            assert (config.widths, config.depths) == (parent.widths, parent.depths)
            assert config.labels[: len(parent.labels)] == parent.labels
            assert config.serving_side == parent.serving_side


class TestLoading:
    def test_missing_keys_have_defaults(self, path: Path) -> None:
        path.write_text(yaml.safe_dump(MINIMAL))
        config = load(path)
        assert config == Config.model_validate(MINIMAL)
        assert config.phases == (Phase(epochs=2, side=48), Phase(epochs=3, side=64))
        assert config.parent is None
        assert config.photographs

    def test_text_is_utf_8(self, path: Path) -> None:
        path.write_bytes("# größer\n".encode() + yaml.safe_dump(MINIMAL).encode())
        assert load(path) == Config.model_validate(MINIMAL)

    def test_a_missing_file_is_reported(self, path: Path) -> None:
        assert rejection(path) == f"cannot read the configuration {path}: No such file or directory"

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (b"labels: [cat, dog", "is not YAML: expected ',' or ']'"),
            (b"\xff\xd8\xff\xe0 a JPEG", "is not UTF-8 (invalid start byte): save it as UTF-8"),
            (b"version: !!python/object/apply:os.getcwd []", "version has the tag "),
            (b"batch: 64\nbatch: 32", "batch is set twice, in the lines 1 and 2: keep one"),
            (b"learning_rate: 1e-3", "learning_rate is 1e-3 in line 1, which Ray (YAML 1.1) reads"),
        ],
    )
    def test_invalid_yaml_is_rejected_in_one_line(
        self, path: Path, content: bytes, text: str
    ) -> None:
        path.write_bytes(content)
        assert rejection(path).startswith(f"{path}: {text}")

    @pytest.mark.parametrize("content", ["", "v1", "- v1", "42"])
    def test_yaml_that_is_not_a_mapping_is_rejected(self, path: Path, content: str) -> None:
        path.write_text(content)
        assert rejection(path).startswith(f"{path}: configuration is ")

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"epoch": 3}, "epoch"),
            ({"phases": [{"epochs": 2, "side": 48, "rate": 1}]}, "phases.0.rate"),
            ({"phases": []}, "phases"),
            ({"phases": [{"epochs": 0, "side": 48}]}, "phases.0.epochs"),
            ({"phases": [{"epochs": 1, "side": 47}]}, "phases.0.side"),
            ({"phases": [{"epochs": 1, "side": 48}, {"epochs": 1, "side": 16}]}, "phases.1.side"),
            ({"version": "one"}, "version"),
            ({"version": "v1/../../etc"}, "version"),
            ({"labels": ["cat"]}, "labels"),
            ({"labels": "cat"}, "labels"),
            ({"labels": ["cat", "../dog"]}, "labels.1"),
            ({"ignored_labels": [""]}, "ignored_labels.0"),
            ({"widths": [], "depths": []}, "widths"),
            ({"widths": [8, 1], "depths": [1, 1]}, "widths.1"),
            ({"widths": [8, 16], "depths": [0, 1]}, "depths.0"),
            ({"seed": -1}, "seed"),
            ({"batch": 1}, "batch"),
            ({"batch": "many"}, "batch"),
            ({"learning_rate": 0}, "learning_rate"),
            ({"dropout": 1}, "dropout"),
            ({"warmup_share": 1}, "warmup_share"),
            ({"weight_decay": -0.1}, "weight_decay"),
            ({"average_decay": 1}, "average_decay"),
            ({"balance": 1.5}, "balance"),
            ({"synthetic_share": -0.1}, "synthetic_share"),
            ({"synthetic_share": 1}, "synthetic_share"),
            ({"synthetic_per_class": -1}, "synthetic_per_class"),
            ({"serving_side": 16}, "serving_side"),
            ({"images_per_epoch": 0}, "images_per_epoch"),
        ],
    )
    def test_an_invalid_value_is_rejected_with_its_key(
        self, path: Path, changes: dict[str, Any], key: str
    ) -> None:
        path.write_text(yaml.safe_dump(MINIMAL | changes))
        assert re.match(rf"{re.escape(str(path))}: (.*; )?{re.escape(key)} \w", rejection(path))

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"widths": [8, 16]}, "widths has 2 stages, depths 4"),
            (
                {"photographs": False, "synthetic_per_class": 0},
                "photographs is false and synthetic_per_class is 0: there are no images",
            ),
            ({"labels": ["cat", "dog", "cat"]}, "a label occurs twice"),
            ({"ignored_labels": ["koala", "dog"]}, "a label occurs twice"),
        ],
    )
    def test_inconsistent_values_are_rejected(
        self, path: Path, changes: dict[str, Any], text: str
    ) -> None:
        path.write_text(yaml.safe_dump(MINIMAL | changes))
        assert text in rejection(path)

    def test_all_problems_are_reported_at_once(self, path: Path) -> None:
        path.write_text(yaml.safe_dump(MINIMAL | {"batch": 1, "colour": "grey"}))
        text = rejection(path)
        assert text == (
            f"{path}: colour is not a key here: the keys are {', '.join(Config.model_fields)};"
            " batch is 1: expected at least 2"
        )


class TestEffectiveSyntheticShare:
    @pytest.mark.parametrize(
        ("changes", "share"),
        [
            ({}, 0.12),
            ({"synthetic_share": 0.4}, 0.4),
            ({"synthetic_share": 0.4, "synthetic_per_class": 0}, 0),
            ({"synthetic_share": 0.4, "photographs": False}, 1),
        ],
    )
    def test_it_depends_on_the_image_sources(self, changes: dict[str, Any], share: float) -> None:
        assert Config.model_validate(MINIMAL | changes).effective_synthetic_share == share


class TestPhases:
    def test_they_are_consecutive(self) -> None:
        config = Config.model_validate(MINIMAL)
        assert config.epochs == 5
        assert [config.side_at(epoch) for epoch in range(5)] == [48, 48, 64, 64, 64]

    def test_an_epoch_after_the_last_is_an_error(self) -> None:
        with pytest.raises(IndexError):
            Config.model_validate(MINIMAL).side_at(5)
