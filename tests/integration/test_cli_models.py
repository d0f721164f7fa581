"""`serve-app models` in a separate process: output, streams and exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models import registry
from models.synthetic import write_folder

ROOT = Path(__file__).parents[2]


def serve_app(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serve_app", "models", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def registry_copy(tmp_path: Path) -> Path:
    """A copy of the shipped registry, for tests that damage it."""
    return Path(shutil.copytree(registry.SHIPPED, tmp_path / "registry"))


@pytest.fixture(scope="module")
def synthetic_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    write_folder(folder, per_class=12, first_seed=500)
    return folder


def test_list_shows_every_version() -> None:
    result = serve_app("list")
    assert result.returncode == 0
    assert all(name in result.stdout for name in registry.names())


def test_list_as_json_has_labels_and_parent() -> None:
    listed = json.loads(serve_app("list", "--json").stdout)
    assert [(v["version"], v["labels"], v["parent"]) for v in listed] == [
        ("v1", ["cat", "dog"], None),
        ("v2", ["cat", "dog", "koala"], "v1"),
    ]


def test_show_prints_the_card(registry_copy: Path) -> None:
    card = registry.load("v2").card
    shown = serve_app("show", "v2")
    assert shown.returncode == 0
    assert card.digest in shown.stdout
    assert "koala" in shown.stdout
    as_json = json.loads(serve_app("show", "v2", "--json").stdout)
    assert as_json == card.model_dump(mode="json")


def test_show_prints_the_notice_on_the_photographs() -> None:
    shown = " ".join(serve_app("show", "v1").stdout.split())
    assert "no clear licence" in shown
    assert "make train DATA=" in shown


def test_verify_accepts_the_shipped_versions() -> None:
    result = serve_app("verify")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [f"{name}: sound" for name in registry.names()]


def test_verify_reports_a_damaged_file_and_checks_the_other_versions(registry_copy: Path) -> None:
    target = registry_copy / "v1" / "model.onnx"
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    result = serve_app("verify", "--registry", registry_copy)
    assert result.returncode == 1
    assert str(target) in result.stderr
    assert "v2: sound" in result.stdout


def test_evaluate_reads_a_folder_per_class(synthetic_images: Path) -> None:
    report = json.loads(serve_app("evaluate", "v2", "--data", synthetic_images, "--json").stdout)
    assert report["images"] == 36
    assert sum(map(sum, report["confusion"])) == 36
    assert set(report["labels"]) == {"cat", "dog", "koala"}
    low, high = report["accuracy_interval"]
    assert low <= report["accuracy"] <= high


def test_evaluate_reports_unknown_labels_separately(synthetic_images: Path) -> None:
    """v1 does not know koalas: all its predictions for them are wrong."""
    result = serve_app("evaluate", "v1", "--data", synthetic_images)
    assert result.returncode == 0
    assert "koala is not a label of this version: 12 images, predicted as " in result.stdout
    report = json.loads(serve_app("evaluate", "v1", "--data", synthetic_images, "--json").stdout)
    assert report["images"] == 24
    assert sum(report["foreign"]["koala"]["answers"].values()) == 12
    assert 0.5 <= report["foreign"]["koala"]["mean_confidence"] <= 1


def test_evaluate_without_data_uses_synthetic_images() -> None:
    result = serve_app("evaluate", "v2")
    assert result.returncode == 0
    assert "synthetic, 300 images" in result.stdout


def test_both_backends_report_the_same_metrics(synthetic_images: Path) -> None:
    reports = [
        json.loads(
            serve_app(
                "evaluate", "v2", "--data", synthetic_images, "--backend", backend, "--json"
            ).stdout
        )
        for backend in ("onnx", "torch")
    ]
    assert reports[0]["confusion"] == reports[1]["confusion"]
    assert reports[0]["mean_confidence"] == pytest.approx(reports[1]["mean_confidence"], abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("show", "v99"), "unknown version 'v99'"),
        (("evaluate", "v1", "--data", "no/such/folder"), "no/such/folder is not a folder"),
        (("list", "--registry", "no/such/folder"), "no/such/folder is not a folder"),
    ],
)
def test_an_expected_error_is_one_line_on_stderr(arguments: tuple[str, ...], text: str) -> None:
    result = serve_app(*arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert text in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_not_an_image_is_reported(synthetic_images: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(synthetic_images, tmp_path / "data"))
    (data / "cat" / "notes.jpg").write_text("not an image")
    result = serve_app("evaluate", "v2", "--data", data)
    assert result.returncode == 1
    assert "notes.jpg" in result.stderr


def test_a_usage_error_exits_with_2() -> None:
    assert serve_app("evaluate").returncode == 2
    assert serve_app("evaluate", "v1", "--backend", "abacus").returncode == 2
