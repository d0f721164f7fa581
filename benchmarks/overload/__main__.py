"""Overload a running service, and measure what its normal clients get.

    python -m benchmarks.overload [--only TEXT] [--write]

First ever more clients send images; then a few do while others attack. Prints a table; --write
puts it into docs/reliability.md. Linux only; takes four minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import psutil
from rich.console import Console

from benchmarks.chaos.load import name_failure
from benchmarks.chaos.results import describe_run, format_table, write
from benchmarks.chaos.service import SINGLE, URL, Service, run_service
from benchmarks.environments import ROOT
from benchmarks.evidence import page
from benchmarks.evidence.table import Table
from benchmarks.overload.attacks import ATTACKS, Attack

CLIENTS = (64, 256, 600)  # that send images
NORMAL_CLIENTS = 4  # during an attack
WARM_UP_S = 6.0  # until the load has its full effect; not counted
MEASURED_S = 12.0
CALM_S = 5.0  # between two loads
BACK_OFF_S = 1.0  # after a 429, as its Retry-After says
TIMEOUT_S = 30.0
MIB = 2**20
EXAMPLES = ROOT / "docs" / "examples"
COLUMNS = (
    "load",
    "clients",
    "200 a second",
    "429",
    "other",
    "p50",
    "p99",
    "ingress before / most / after, MiB",
)


@dataclass(frozen=True, slots=True)
class Load:
    """Attributes:
    clients: That send images, and are measured.
    attack: What others do meanwhile.
    """

    name: str
    clients: int
    attack: Attack | None = None


LOADS = (
    *(Load("images of 64 px", clients) for clients in CLIENTS),
    *(Load(attack.name, NORMAL_CLIENTS, attack) for attack in ATTACKS),
)


class Memory:
    """Samples the memory of the ingress in a thread."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.before = self.most = self.now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def now(self) -> int:
        return int(self._process.memory_info().rss)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.1):
            with suppress(psutil.Error):
                self.most = max(self.most, self.now())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--only", default="", help="loads with this in their name")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    options = parser.parse_args()
    loads = [load for load in LOADS if options.only in load.name]
    if not loads or (options.write and len(loads) < len(LOADS)):
        parser.error("--only names no load, or --write is given with it")
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    started = time.monotonic()
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="overload-") as folder,
        run_service(Path(folder), SINGLE) as service,
    ):
        for load in loads:
            console.print(f"{load.name}, {load.clients} clients")
            rows.append(_measure(load, service))
            service.wait(CALM_S)
    measured = Table("overload", COLUMNS, tuple(rows), inputs=1)
    run = describe_run(time.monotonic() - started)
    console.print(format_table(measured), run)
    if options.write:
        write({"overload": page.markdown(measured), "overload-run": run})


def _measure(load: Load, service: Service) -> tuple[str, ...]:
    memory = Memory(service.process("^ray::ServeReplica:[^:]+:Ingress"))
    memory.start()
    attacker = None
    if load.attack:
        attacker = multiprocessing.get_context("spawn").Process(target=load.attack, daemon=True)
        attacker.start()
    try:
        results, latencies_ms = asyncio.run(_send(load.clients))
    finally:
        if attacker:
            attacker.kill()
            attacker.join()
    service.wait(CALM_S)
    memory.stop()
    other = results.total() - results["200"] - results["429"]
    p50, p99 = np.percentile(latencies_ms, (50, 99)) if latencies_ms else (np.nan, np.nan)
    return (
        load.name,
        str(load.clients),
        f"{results['200'] / MEASURED_S:.0f}",
        f"{100 * results['429'] / max(1, results.total()):.1f} %",
        f"{other:,}",
        f"{p50 / 1000:.2f} s" if latencies_ms else "none",
        f"{p99 / 1000:.2f} s" if latencies_ms else "none",
        f"{memory.before // MIB} / {memory.most // MIB} / {memory.now() // MIB}",
    )


async def _send(clients: int) -> tuple[Counter[str], list[float]]:
    """The results and the latencies of the predictions, ms, after the first `WARM_UP_S`."""
    images = [path.read_bytes() for path in sorted(EXAMPLES.glob("*.png"))]
    results: Counter[str] = Counter()
    latencies_ms: list[float] = []
    begin = time.monotonic() + WARM_UP_S
    end = begin + MEASURED_S
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)

    async def client(number: int) -> None:
        image = images[number % len(images)]
        while (started := time.monotonic()) < end:
            try:
                async with http.post("/v1/classify", data=image, headers=_HEADERS) as response:
                    await response.read()
                    result = str(response.status)
            except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                result = name_failure(exc)
            ended = time.monotonic()
            if begin <= ended < end:
                results[result] += 1
                if result == "200":
                    latencies_ms.append(1000 * (ended - started))
            if result != "200":
                await asyncio.sleep(BACK_OFF_S)

    async with aiohttp.ClientSession(URL, timeout=timeout, connector=connector) as http:
        await asyncio.gather(*(client(number) for number in range(clients)))
    return results, latencies_ms


_HEADERS = {"Content-Type": "image/png"}

if __name__ == "__main__":
    main()
