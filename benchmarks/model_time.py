"""From which model time on the way through the service no longer matters.

    python -m benchmarks.model_time

One client asks for the small image. The network takes longer by some milliseconds, in which the
processor is idle, as while a GPU computes. What the request takes above decoding and network is the
overhead of the service.
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
from benchmarks.measurement import Demand, measure
from benchmarks.peers import VERSION
from benchmarks.server import running
from benchmarks.systems import OURS, SYSTEMS
from models import classifier
from models.preprocess import Pixels
from serve_app.data_plane.pools import PoolResponse
from serve_app.deployment.args import AnimalsArgs
from serve_app.home import open_home
from serve_app.serving.app import data_plane
from serve_app.serving.classifier import Classifier

BASE = ROOT / "deploy_configs" / "base.yaml"
OURS_SLOWER = "benchmarks.model_time:animals"
FILE = "extra_ms"  # in the home of the service: by how much the network takes longer
EXTRA_MS = (0, 2, 5, 10, 20, 50, 100)
WARM_UP_S, BLOCK_S = 1.0, 4.0


class Slower(Classifier):
    """Its networks take longer."""

    async def classify(self, pixels: Pixels) -> PoolResponse:
        reply = await super().classify(pixels)
        file = open_home().path / FILE
        if file.exists():
            await asyncio.sleep(float(file.read_text()) / 1000)
        return reply


def animals(args: dict[str, Any]) -> Application:
    """The data plane that the service of this benchmark runs."""
    return data_plane(AnimalsArgs.model_validate(args), Slower)


def main() -> None:
    console = Console()
    processes.adopt_orphans()
    environments.prepare(environments.SERVING, CACHE)
    image, _ = images.make(CACHE / "images", classifier.load(VERSION))
    alone_ms = inprocess.measure(image.path.read_bytes(), batch=1, seconds=2.0).ms
    file = CACHE / "model_time.yaml"
    file.write_text(BASE.read_text().replace("serve_app.serving.app:animals", OURS_SLOWER))
    ours = next(system for system in SYSTEMS if system.name == OURS)
    system = replace(ours, command=(*ours.command[:-1], str(file)))
    table = Table("network, ms more", "p50, ms", "overhead, ms", "of the request")
    with running(system, image, CACHE) as server:
        for extra_ms in EXTRA_MS:
            (server.home / FILE).write_text(str(extra_ms))
            block = measure(system, 0, image, Demand(1, WARM_UP_S, BLOCK_S))
            p50_ms = block.load.p50_ms or float("nan")
            overhead_ms = p50_ms - alone_ms - extra_ms
            table.add_row(
                str(extra_ms),
                f"{p50_ms:.1f}",
                f"{overhead_ms:.1f}",
                f"{100 * overhead_ms / p50_ms:.0f} %",
            )
    console.print(f"In process, alone: {alone_ms:.2f} ms an image")
    console.print(table)


if __name__ == "__main__":
    main()
