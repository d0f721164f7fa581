"""What it costs to record an exposure: made, buffered, batched, encoded, decoded, stored.

    python -m benchmarks.recording --batch 115 --seconds 1

The service cannot be told not to record, so it cannot be measured with recording on and off.  This
is what recording adds, alone in a process: the recorder and the SQLite store as the service has
them, and between them what a call of Serve does to a batch, pickling, without the call itself.
That call, one a batch, is in the figure of the whole service and not in this one.

Prints an `ExposureCost` as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pickle
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from serve_app.clock import now_ms
from serve_app.domain import Exposure, Reason
from serve_app.recording.batch import Batch
from serve_app.recording.recorder import Recorder
from serve_app.recording.spool import Spool
from serve_app.rules.single import Single
from serve_app.store.store import Store, open_store

INTERVAL_S = 0.005  # of the recorder: no need to wait for what is recorded at once
CLOSE_S = 10.0
HASH = "0" * 32
REQUEST_ID = "00000000-0000-4000-8000-000000000000"
RULE = Single(kind="single", stable="v1")


@dataclass(frozen=True)
class ExposureCost:
    """What one exposure costs.

    Attributes:
        batch: Exposures that travel at once.
        cpu_us: CPU time of all threads, microseconds an exposure.
        delivered: Exposures that it was measured on.
    """

    batch: int
    cpu_us: float
    delivered: int


class Courier:
    """Takes batches to a store as the service does, but for the way between two processes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.arrived = asyncio.Event()

    async def deliver(self, batch: Batch) -> None:
        travelled: Batch = pickle.loads(pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))  # noqa: S301
        await asyncio.to_thread(self._store.record, travelled)
        self.arrived.set()


async def measure(folder: Path, batch: int, seconds: float) -> ExposureCost:
    """Record batches of exposures for about `seconds`, once it is warm."""
    store = open_store(f"sqlite:///{folder / 'store.db'}")
    courier = Courier(store)
    spool = Spool(folder)
    recorder = Recorder(courier.deliver, spool, batch_size=batch, interval_s=INTERVAL_S)
    recorder.adopted(RULE.rule_id, RULE.canonical(), now_ms())
    recorder.start()

    async def record() -> None:
        courier.arrived.clear()
        for _ in range(batch):
            recorder.record(_exposure(recorder))
        await courier.arrived.wait()

    await record()
    exposures = 0
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        await record()
        exposures += batch
    cpu_us = 1e6 * (time.process_time() - cpu) / exposures
    await recorder.close(CLOSE_S)
    store.close()
    return ExposureCost(batch, cpu_us, exposures)


def _exposure(recorder: Recorder) -> Exposure:
    """As the data plane makes one."""
    return Exposure(
        writer=recorder.writer,
        sequence=recorder.next_sequence(),
        at_ms=now_ms(),
        request_id=REQUEST_ID,
        rule_id=RULE.rule_id,
        rule=RULE.kind,
        reason=Reason.STATIC.value,
        assigned="v1",
        served="v1",
        user=HASH,
        session=None,
        region="AU",
        label="cat",
        confidence=0.98,
        latency_ms=12.3,
        model_ms=2.1,
        error=None,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.0)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        print(json.dumps(asdict(asyncio.run(measure(Path(folder), told.batch, told.seconds)))))


if __name__ == "__main__":
    main()
