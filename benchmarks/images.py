"""The images that all systems get, identical in every run."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from models.classifier import Classifier
from models.preprocess import to_pixels
from models.synthetic import synthesize

PHOTOGRAPHS = "SERVE_APP_PHOTOS"
SEED = 7
GRAIN = 6.0  # standard deviation of the noise, on the scale 0 .. 255
QUALITIES = range(40, 96)
BOUNDARY = "image"

RequestFormat = Literal["image", "form", "base64"]


@dataclass(frozen=True)
class Body:
    """Body of a request: a file with these bytes."""

    path: Path
    content_type: str


@dataclass(frozen=True)
class BenchmarkImage:
    """A JPEG on disk, also as a form and as an inference request.

    Attributes:
        name: Name in the report.
        label: Label predicted by the served version.
    """

    name: str
    path: Path
    width: int
    height: int
    size_bytes: int
    label: str

    def body(self, request_format: RequestFormat) -> Body:
        if request_format == "form":
            return Body(self.path.with_suffix(".form"), f"multipart/form-data; boundary={BOUNDARY}")
        if request_format == "base64":
            return Body(self.path.with_suffix(".json"), "application/json")
        return Body(self.path, "image/jpeg")


def make_images(folder: Path, classifier: Classifier) -> tuple[BenchmarkImage, BenchmarkImage]:
    """Save a thumbnail of about 15 kB and a 12-megapixel photograph of about 3 MB in a folder.

    Both show the first photograph of `test/cat` in the folder `SERVE_APP_PHOTOS`; if that is not
    set, a synthetic cat.
    """
    folder.mkdir(parents=True, exist_ok=True)
    photographs = os.environ.get(PHOTOGRAPHS)
    if photographs:
        source = Image.open(min(Path(photographs, "test", "cat").iterdir())).convert("RGB")
    else:
        source = synthesize("cat", SEED, size=1024)
    return (
        _save(folder, "15 kB", _resize(source, 256, 192), 15_000, classifier),
        _save(folder, "12 MP", _add_grain(_resize(source, 4000, 3000)), 3_000_000, classifier),
    )


def _resize(source: Image.Image, width: int, height: int) -> Image.Image:
    return ImageOps.fit(source, (width, height), Image.Resampling.BICUBIC)


def _add_grain(image: Image.Image) -> Image.Image:
    """Add noise: an enlarged image is too smooth and decodes faster than a photograph."""
    rng = np.random.default_rng(SEED)
    pixels = np.asarray(image, np.float32)
    grain = rng.standard_normal((*pixels.shape[:2], 1), np.float32) * np.float32(GRAIN)
    return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))


def _save(
    folder: Path, name: str, image: Image.Image, target_bytes: int, classifier: Classifier
) -> BenchmarkImage:
    data = _encode(image, target_bytes)
    path = folder / f"{image.width}x{image.height}.jpg"
    path.write_bytes(data)
    path.with_suffix(".form").write_bytes(_form_body(data))
    path.with_suffix(".json").write_text(_inference_request(data))
    card = classifier.card
    probabilities = classifier.probabilities(to_pixels(data, card.input.side)[None])[0]
    label = card.labels[int(probabilities.argmax())]
    return BenchmarkImage(name, path, image.width, image.height, len(data), label)


def _form_body(data: bytes) -> bytes:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="image.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def _inference_request(data: bytes) -> str:
    """A JSON request of the Open Inference Protocol with the image as base64."""
    image = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1, 1],
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(data).decode()],
    }
    return json.dumps({"inputs": [image]})


def _encode(image: Image.Image, target_bytes: int) -> bytes:
    """The JPEG of the highest quality that has at most `target_bytes`, by bisection."""
    low, high = QUALITIES.start, QUALITIES.stop - 1
    while low < high:
        middle = (low + high + 1) // 2
        if len(_jpeg(image, middle)) <= target_bytes:
            low = middle
        else:
            high = middle - 1
    return _jpeg(image, low)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
