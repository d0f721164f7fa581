"""Lower bound for all servers: decode, preprocess and classify in one process.

    python -m benchmarks.inprocess image.jpg --batch 16 --seconds 1

Prints an `InProcess` as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.peers import VERSION
from models import classifier
from models.preprocess import to_pixels


@dataclass(frozen=True)
class InProcess:
    """Cost of one image.

    Attributes:
        batch: Images per call of the network.
        cpu_ms, ms: CPU time and wall-clock time per image.
    """

    batch: int
    cpu_ms: float
    ms: float


def measure(data: bytes, batch: int, seconds: float) -> InProcess:
    """Classify the image for about `seconds`, after one call to warm up."""
    model = classifier.load(VERSION)
    side = model.card.input.side

    def classify() -> None:
        model.probabilities(np.stack([to_pixels(data, side) for _ in range(batch)]))

    classify()
    batches = 0
    started, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        classify()
        batches += 1
    images = batches * batch
    return InProcess(
        batch,
        cpu_ms=1e3 * (time.process_time() - cpu) / images,
        ms=1e3 * (time.perf_counter() - started) / images,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    measured = measure(arguments.image.read_bytes(), arguments.batch, arguments.seconds)
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
