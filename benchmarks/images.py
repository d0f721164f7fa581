"""The images that every system is asked about, made the same in every run."""

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
from models.synthetic import draw

PHOTOGRAPHS = "SERVE_APP_PHOTOS"
SEED = 7
GRAIN = 6.0  # standard deviation of a camera's noise, of 255
QUALITIES = range(40, 96)


BOUNDARY = "image"

Sends = Literal["image", "form", "base64"]


@dataclass(frozen=True)
class Body:
    """What a request carries: a file with exactly these bytes."""

    path: Path
    content_type: str


@dataclass(frozen=True)
class BenchmarkImage:
    """A JPEG on disk, the same in a form, and in an inference request.

    Attributes:
        name: What the report calls it.
        label: What the version that is served says it shows.
    """

    name: str
    path: Path
    width: int
    height: int
    size_bytes: int
    label: str

    def body(self, sends: Sends) -> Body:
        if sends == "form":
            return Body(self.path.with_suffix(".form"), f"multipart/form-data; boundary={BOUNDARY}")
        if sends == "base64":
            return Body(self.path.with_suffix(".json"), "application/json")
        return Body(self.path, "image/jpeg")


def make(folder: Path, classifier: Classifier) -> tuple[BenchmarkImage, BenchmarkImage]:
    """A thumbnail of about 15 kB and a 12-megapixel photograph of about 3 MB, saved in a folder.

    Of a photograph in the folder that `SERVE_APP_PHOTOS` names, `test/cat`; else of a drawn cat.
    """
    folder.mkdir(parents=True, exist_ok=True)
    photographs = os.environ.get(PHOTOGRAPHS)
    if photographs:
        source = Image.open(min(Path(photographs, "test", "cat").iterdir())).convert("RGB")
    else:
        source = draw("cat", SEED, size=1024)
    return (
        _save(folder, "15 kB", _sized(source, 256, 192), 15_000, classifier),
        _save(folder, "12 MP", _grainy(_sized(source, 4000, 3000)), 3_000_000, classifier),
    )


def _sized(source: Image.Image, width: int, height: int) -> Image.Image:
    return ImageOps.fit(source, (width, height), Image.Resampling.BICUBIC)


def _grainy(image: Image.Image) -> Image.Image:
    """Enlarged images are smooth; grain gives a JPEG's decoder a photograph's work."""
    rng = np.random.default_rng(SEED)
    pixels = np.asarray(image, np.float32)
    grain = rng.standard_normal((*pixels.shape[:2], 1), np.float32) * np.float32(GRAIN)
    return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))


def _save(
    folder: Path, name: str, image: Image.Image, target_bytes: int, classifier: Classifier
) -> BenchmarkImage:
    data = _encoded(image, target_bytes)
    path = folder / f"{image.width}x{image.height}.jpg"
    path.write_bytes(data)
    path.with_suffix(".form").write_bytes(_form(data))
    path.with_suffix(".json").write_text(_inference_request(data))
    card = classifier.card
    probabilities = classifier.probabilities(to_pixels(data, card.input.side)[None])[0]
    label = card.labels[int(probabilities.argmax())]
    return BenchmarkImage(name, path, image.width, image.height, len(data), label)


def _form(data: bytes) -> bytes:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="image.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def _inference_request(data: bytes) -> str:
    """JSON of the Open Inference Protocol, with the image as base64."""
    image = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1, 1],
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(data).decode()],
    }
    return json.dumps({"inputs": [image]})


def _encoded(image: Image.Image, target_bytes: int) -> bytes:
    """The JPEG of the highest quality that is no larger than `target_bytes`, by bisection."""
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
