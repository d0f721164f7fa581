from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from models import card as cards
from models.card import Card

DIGEST = hashlib.sha256(b"").hexdigest()


def content(**changes: Any) -> dict[str, Any]:
    """The fields of a small card, with changes."""
    return {
        "version": "v7",
        "labels": ["cat", "dog"],
        "parent": None,
        "architecture": {"widths": [8, 16], "depths": [1, 2]},
        "input": {"side": 64},
        "calibration": {"temperature": 1.25, "biases": [0.5, -0.5], "data": "synthetic, val"},
        "metrics": [
            {
                "data": "synthetic, test",
                "images": 3,
                "accuracy": 2 / 3,
                "accuracy_interval": [0.2, 0.9],
                "macro_f1": 0.4,
                "calibration_error": 0.1,
                "mean_confidence": 0.7,
                "labels": {
                    label: {
                        "images": 1,
                        "recall": recall,
                        "recall_interval": [0.2, 1.0],
                        "precision": precision,
                        "f1": 0.5,
                    }
                    for label, recall, precision in (("cat", 1.0, None), ("dog", None, 0.5))
                },
                "confusion": [[1, 0], [1, 1]],
                "foreign": {
                    "koala": {
                        "images": 2,
                        "answers": {"cat": 2, "dog": 0},
                        "mean_confidence": 0.9,
                    }
                },
            }
        ],
        "training": {
            "command": "make train",
            "date": "2026-01-31",
            "seed": 3,
            "epochs": 2,
            "images": {"cat": 5},
            "balance": 0.5,
            "synthetic_share": 0.25,
            "libraries": {"torch": "2.9"},
            "notice": "Test data’s.",
        },
        "files": {"model.onnx": DIGEST},
        **changes,
    }


def card(**changes: Any) -> Card:
    return Card.model_validate(content(**changes)).with_digest()


TEXT = card().text().encode()


def test_a_written_card_parses_back_to_the_same_card() -> None:
    assert cards.parse(TEXT) == card()
    assert cards.parse(TEXT).text().encode() == TEXT


def test_the_text_is_indented_json() -> None:
    text = card().text()
    assert text.endswith("}\n")
    assert '\n  "version": "v7",\n' in text
    assert "Test data’s." in text
    assert json.loads(text)["labels"] == ["cat", "dog"]


def test_the_digest_is_the_sha_256_of_the_text_without_the_digest() -> None:
    fields = json.loads(TEXT)
    digest = fields.pop("digest")
    bare = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
    assert digest == hashlib.sha256(bare.encode()).hexdigest()


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "v8"},
        {"labels": ["dog", "cat"]},
        {"parent": {"version": "v6", "digest": DIGEST}},
        {"calibration": content()["calibration"] | {"temperature": 1.2500000000000002}},
        {"calibration": content()["calibration"] | {"biases": [-0.5, 0.5]}},
        {"files": {}},
    ],
)
def test_different_content_has_a_different_digest(changes: dict[str, Any]) -> None:
    assert card(**changes).digest != card().digest


def test_only_the_card_of_a_test_version_has_the_key_faults() -> None:
    assert '"faults"' not in card().text()
    faulty = card(faults={"slow_ms": 300.0})
    assert cards.parse(faulty.text().encode()) == faulty
    assert faulty.digest != card().digest


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"slow_ms": 0.0},
        {"slow_ms": -1.0},
        {"slow_ms": float("nan")},
        {"slow_ms": 1e9},
        {"fail": 1.1},
        {"wrong": -0.1},
        {"speed": 3},
    ],
)
def test_faults_that_are_none_or_out_of_range_are_rejected(faults: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        card(faults=faults)


def test_a_card_without_digest_is_rejected() -> None:
    with pytest.raises(ValueError, match="does not match its digest"):
        cards.parse(Card.model_validate(content()).text().encode())


@pytest.mark.parametrize("mask", [0x01, 0x20])
def test_every_single_changed_byte_is_rejected(mask: int) -> None:
    """Also in whitespace, letter case and digits of long numbers."""
    for position in range(len(TEXT)):
        changed = bytearray(TEXT)
        changed[position] ^= mask
        with pytest.raises(ValueError, match=r"\S"):
            cards.parse(bytes(changed))


@pytest.mark.parametrize(
    "data",
    [
        TEXT[:-1],
        TEXT + b"\n",
        b" " + TEXT,
        TEXT.replace(b"\n", b"\r\n"),
        json.dumps(json.loads(TEXT)).encode(),
        json.dumps(json.loads(TEXT), indent=2).encode() + b"\n",
        TEXT.replace(b'"format": 1,', b'"format": 1,\n  "format": 1,'),
    ],
    ids=[
        "no final newline",
        "extra newline",
        "space",
        "CRLF",
        "one line",
        "ASCII",
        "duplicate key",
    ],
)
def test_non_canonical_json_of_the_same_content_is_rejected(data: bytes) -> None:
    with pytest.raises(ValueError, match="does not match its digest: it was changed"):
        cards.parse(data)


def json_with(path: str, value: object) -> bytes:
    """The JSON of the card with `value` at a path such as `input.side`."""
    fields = json.loads(TEXT)
    *parents, key = path.split(".")
    part = fields
    for parent in parents:
        part = part[int(parent)] if isinstance(part, list) else part[parent]
    part[key] = value
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("shade", "grey"),
        ("input.colour", "RGB"),
        ("metrics.0.luck", 1),
        ("format", 2),
        ("version", "7"),
        ("version", "v7/../v1"),
        ("version", "v"),
        ("version", "v7\n"),
        ("parent", "v6"),
        ("parent.digest", "of v6"),
        ("labels", ["cat"]),
        ("architecture.network", "HugeCNN"),
        ("architecture.widths", "wide"),
        ("input.side", 16),
        ("input.side", "large"),
        ("input.preprocessing", "square-crop/v2"),
        ("calibration.temperature", 0),
        ("calibration.temperature", -1),
        ("calibration.biases", None),
        ("metrics.0.accuracy", 1.1),
        ("metrics.0.labels.cat.recall", -0.1),
        ("training.balance", -0.5),
        ("training.synthetic_share", 2),
        ("files", ["model.onnx"]),
        ("files.model.onnx", DIGEST[:-1]),
        ("files.model.onnx", DIGEST.upper()),
        ("files.model.onnx", DIGEST + "\n"),
    ],
)
def test_an_invalid_value_is_rejected_with_its_key(path: str, value: object) -> None:
    if path == "files.model.onnx":
        data = json_with("files", {"model.onnx": value})
    elif path == "parent.digest":
        data = json_with("parent", {"version": "v6", "digest": value})
    else:
        data = json_with(path, value)
    with pytest.raises(ValueError, match=rf"(^|; ){path} \w"):
        cards.parse(data)


@pytest.mark.parametrize(
    "name",
    [
        "../model.onnx", "/etc/passwd", "sub/model.onnx", "sub\\model.onnx", ".", "..", ".hidden",
        "-rf", "", "model onnx", "model.onnx\n", "ünder",
    ],
)  # fmt: skip
def test_an_unsafe_file_name_is_rejected(name: str) -> None:
    """A card must not refer to files outside its folder."""
    with pytest.raises(ValueError, match="files"):
        cards.parse(json_with("files", {name: DIGEST}))


@pytest.mark.parametrize(
    "label", ["", " cat", ".cat", "../cat", "cat/dog", "cat,dog", '"cat"', "cat\n", "chät"]
)
def test_an_unsafe_label_is_rejected(label: str) -> None:
    """Labels become folder names and stand in comma-separated lists."""
    with pytest.raises(ValueError, match=r"(^|; )labels\.1 \w"):
        cards.parse(json_with("labels", ["cat", label]))


@pytest.mark.parametrize("biases", [[], [0.5], [0.5, 0.0, -0.5]])
def test_a_wrong_number_of_biases_is_rejected(biases: list[float]) -> None:
    with pytest.raises(ValueError, match=f"{len(biases)} calibration biases for 2 labels"):
        cards.parse(json_with("calibration.biases", biases))


def test_repeated_labels_are_rejected_and_listed() -> None:
    fields = content(labels=["cat", "dog", "cat"])
    fields["calibration"]["biases"].append(0.0)
    with pytest.raises(ValueError, match="labels repeat: cat, dog, cat"):
        cards.parse(json.dumps(fields).encode())


def test_all_problems_are_reported_at_once() -> None:
    fields = content(shade="grey", version="seven")
    del fields["labels"]
    with pytest.raises(
        ValueError, match=r"^shade is not a key here: .*; version is .*; labels is missing$"
    ):
        cards.parse(json.dumps(fields).encode())


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"{", b"[" * 10_000])
def test_invalid_json_is_reported_as_json_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="JSON: "):
        cards.parse(data)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_non_finite_temperature_is_rejected(number: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        cards.parse(TEXT.replace(b"1.25", number.encode()))


def test_a_card_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        card().version = "v8"
