"""Overhead of the service as a share of a request, by model time.

    python -m benchmarks.model_time

One client sends the small image. The model time is increased by some milliseconds of sleep, as if a
GPU computed. The overhead is the latency of a request minus decoding and model time.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from ray.serve import Application
from rich.console import Console
from rich.table import Table

from benchmarks import environments, images, inprocess, processes
from benchmarks.environments import CACHE, ROOT
from benchmarks.measurement import LoadProfile, measure
from benchmarks.peers import VERSION
from benchmarks.server import run_system
from benchmarks.systems import OURS, SYSTEMS
from models import classifier
from models.preprocess import Pixels
from serve_app.data_plane.pools import PoolResponse
from serve_app.deployment.args import AnimalsArgs
from serve_app.home import open_home
from serve_app.serving.app import data_plane
from serve_app.serving.classifier import Classifier

BASE = ROOT / "deploy_configs" / "base.yaml"
SLOW_APP = "benchmarks.model_time:animals"
EXTRA_MS_FILE = "extra_ms"  # in the home directory of the service: added model time, ms
EXTRA_MS = (0, 2, 5, 10, 20, 50, 100)
WARM_UP_S, BLOCK_S = 1.0, 4.0


class SlowClassifier(Classifier):
    """A classifier with added model time."""

    async def classify(self, pixels: Pixels) -> PoolResponse:
        response = await super().classify(pixels)
        file = open_home().path / EXTRA_MS_FILE
        if file.exists():
            await asyncio.sleep(float(file.read_text()) / 1000)
        return response


def animals(args: dict[str, Any]) -> Application:
    """The data plane of this benchmark."""
    return data_plane(AnimalsArgs.model_validate(args), SlowClassifier)


def main() -> None:
    console = Console()
    processes.adopt_orphans()
    environments.prepare(environments.SERVING, CACHE)
    image, _ = images.make_images(CACHE / "images", classifier.load(VERSION))
    in_process_ms = inprocess.measure(image.path.read_bytes(), batch=1, seconds=2.0).ms
    file = CACHE / "model_time.yaml"
    file.write_text(BASE.read_text().replace("serve_app.serving.app:animals", SLOW_APP))
    ours = next(system for system in SYSTEMS if system.name == OURS)
    system = replace(ours, command=(*ours.command[:-1], str(file)))
    table = Table("added model time, ms", "p50, ms", "overhead, ms", "share of the request")
    with run_system(system, image, CACHE) as server:
        for extra_ms in EXTRA_MS:
            (server.home / EXTRA_MS_FILE).write_text(str(extra_ms))
            block = measure(system, 0, image, LoadProfile(1, WARM_UP_S, BLOCK_S))
            p50_ms = block.load.p50_ms or float("nan")
            overhead_ms = p50_ms - in_process_ms - extra_ms
            table.add_row(
                str(extra_ms),
                f"{p50_ms:.1f}",
                f"{overhead_ms:.1f}",
                f"{100 * overhead_ms / p50_ms:.0f} %",
            )
    console.print(f"In process: {in_process_ms:.2f} ms per image")
    console.print(table)


if __name__ == "__main__":
    main()
