"""Measures recording a day of traffic, and the reads of a report on it.

Run with `python -m tests.contract.store.measure`. Fills the database if it is empty, then prints
elapsed seconds and CPU seconds of this process. By default the database is a new SQLite file; with
`--url postgres`, a PostgreSQL test server.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serve_app.store.scope import EVERYTHING, Scope
from serve_app.store.store import Store, open_store
from tests.contract.store.population import DAY_MS, DIGEST, START_MS, Population
from tests.postgres import run_server

DAY = Scope(since_ms=START_MS, until_ms=START_MS + DAY_MS)
HOUR_MS = 3_600_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exposures", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--feedback", type=float, default=0.25)
    parser.add_argument("--pairs", type=float, default=0.0)
    parser.add_argument("--url", default="sqlite")
    options = parser.parse_args()
    population = Population(options.exposures, options.users, options.feedback, options.pairs)
    with _database(options.url) as url:
        store = open_store(url)
        if not store.recording().stored:
            _record(store, population)
        for name, read in _reads(store).items():
            wall, cpu = time.perf_counter(), time.process_time()
            read()
            wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
            print(f"{wall_s:8.3f} s {cpu_s:8.3f} s  {name}")
        store.close()


@contextmanager
def _database(url: str) -> Iterator[str]:
    if url == "postgres":
        with run_server() as server:
            yield server.url
    elif url == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/store.db"
    else:
        yield url


def _record(store: Store, population: Population) -> None:
    cpu_s = wall_s = 0.0
    for batch in population.batches():
        cpu, wall = time.process_time(), time.perf_counter()
        store.record(batch)
        cpu_s += time.process_time() - cpu
        wall_s += time.perf_counter() - wall
    per = 1e6 / population.exposures
    print(f"record: {cpu_s * per:.1f} us of CPU, {wall_s * per:.1f} us elapsed per exposure")


def _reads(store: Store) -> dict[str, Callable[[], object]]:
    return {
        "exposures by version, reason, region, label": lambda: store.exposure_sums(
            DAY, by=("assigned", "served_as_assigned", "reason", "region", "label")
        ),
        "exposures by version and hour": lambda: store.exposure_sums(
            DAY, by=("assigned", "reason"), slot_ms=HOUR_MS
        ),
        "latencies": lambda: store.latency_histograms(DAY, "latency", by=("assigned", "reason")),
        "model times": lambda: store.latency_histograms(DAY, "model", by=("assigned", "reason")),
        "units": lambda: store.experiment_units(DIGEST, DAY_MS, DAY),
        "first assignment counts": lambda: store.first_assignment_counts(DIGEST),
        "labelled feedback": lambda: store.labelled_feedback(DAY),
        "told pairs": lambda: store.told_pairs(DAY),
        "pairs": lambda: store.pair_sums(DAY, by=("live_label", "label", "outcome", "region")),
        "epochs": lambda: store.epochs_between(),
        "without a scope": lambda: store.exposure_sums(EVERYTHING, by=("assigned", "region")),
    }


if __name__ == "__main__":
    main()
