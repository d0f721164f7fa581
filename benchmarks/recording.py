"""CPU cost of recording an exposure: create, buffer, batch, encode, decode, store.

    python -m benchmarks.recording --batch 115 --seconds 1

Recording cannot be switched off in the service, so it is measured separately in one process: the
recorder and the SQLite store of the service, with pickling between them as in a Serve call. The
call itself, one per batch, is not included.

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
from serve_app.recording.batch import Batch
from serve_app.recording.recorder import Recorder
from serve_app.recording.records import Exposure
from serve_app.recording.spool import Spool
from serve_app.rules.plan import Reason
from serve_app.rules.single import Single
from serve_app.store.store import Store, open_store

INTERVAL_S = 0.005  # delivery interval of the recorder; short, because a batch is recorded at once
CLOSE_S = 10.0
HASH = "0" * 32
REQUEST_ID = "00000000-0000-4000-8000-000000000000"
RULE = Single(kind="single", stable="v1")


@dataclass(frozen=True)
class ExposureCost:
    """Cost of one exposure.

    Attributes:
        batch: Exposures per batch.
        cpu_us: CPU time of all threads, microseconds per exposure.
        delivered: Number of measured exposures.
    """

    batch: int
    cpu_us: float
    delivered: int


class StoreWriter:
    """Writes batches to a store like the service, without a call between processes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.stored = asyncio.Event()

    async def deliver(self, batch: Batch) -> None:
        copy: Batch = pickle.loads(pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))  # noqa: S301
        await asyncio.to_thread(self._store.record, copy)
        self.stored.set()


async def measure(folder: Path, batch: int, seconds: float) -> ExposureCost:
    """Record batches of exposures for about `seconds`, after one batch to warm up."""
    store = open_store(f"sqlite:///{folder / 'store.db'}")
    store_writer = StoreWriter(store)
    spool = Spool(folder)
    recorder = Recorder(store_writer.deliver, spool, batch_size=batch, interval_s=INTERVAL_S)
    recorder.record_adoption(RULE.rule_id, RULE.canonical(), now_ms())
    recorder.start()

    async def record() -> None:
        store_writer.stored.clear()
        for _ in range(batch):
            recorder.record(_make_exposure(recorder))
        await store_writer.stored.wait()

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


def _make_exposure(recorder: Recorder) -> Exposure:
    """An exposure as the data plane creates it."""
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
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        cost = asyncio.run(measure(Path(folder), arguments.batch, arguments.seconds))
        print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
