"""Time of the reports on one day of data: wall-clock and CPU seconds.

    python -m benchmarks.reports --users 100000
    python -m benchmarks.reports --users 2000 --url postgresql+psycopg://...

Fills an empty database with a day of 1,000,000 exposures, feedback on a quarter of them and one
shadow pair each. Then computes each report three times and prints the fastest run. All reports use
the same day; before each report the stored rule is changed, and the units are assigned to its
experiment. Without --url, uses a temporary SQLite file.

If the filling is interrupted, start again with a new database.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import create_engine, update

from serve_app.recording.batch import Adoption
from serve_app.reports import overview, traffic
from serve_app.reports.assessment import EXPERIMENT_REPORTS
from serve_app.reports.experiment import find_experiment
from serve_app.reports.period import Period
from serve_app.rules.parse import parse_rule
from serve_app.store import schema
from serve_app.store.store import Store, open_store
from tests.contract.store.population import DAY_MS, RULE_ID, START_MS, Population

ROUNDS = 3
DAY = Period(START_MS, START_MS + DAY_MS)
EXPERIMENT = {"experiment": "koala-test", "settle": "6h"}
VERSIONS = {"stable": "v1", "candidate": "v2"}
TEST = EXPERIMENT | {
    "kind": "ab_test",
    "control": "v1",
    "treatment": "v2",
    "outcome": {"window": "1h"},
}
CANARY = EXPERIMENT | VERSIONS | {"kind": "canary_parallel", "weight": 0.5}
KNOWN = ("v1", "v2")
LABELS = {"v1": ("cat", "dog"), "v2": ("cat", "dog", "koala")}.__getitem__


def _assess(report: str, store: Store) -> object:
    found = find_experiment(store, report, DAY, None)
    return EXPERIMENT_REPORTS[report](store, DAY, LABELS, found)


# name -> rule of the day, report
REPORTS: dict[str, tuple[dict[str, Any], Callable[[Store], object]]] = {
    "traffic": (CANARY, lambda store: traffic.assess(store, DAY)),
    "overview": (CANARY, lambda store: overview.assess(store, DAY)),
    "canary": (CANARY, partial(_assess, "canary")),
    "ab, unit: user": (TEST | {"unit": "user"}, partial(_assess, "ab")),
    "ab, unit: request": (TEST, partial(_assess, "ab")),
    "shadow": (VERSIONS | {"kind": "shadow"}, partial(_assess, "shadow")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--exposures", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--feedback", type=float, default=0.25)
    parser.add_argument("--url", default=None)
    options = parser.parse_args()
    with _database(options.url) as url:
        store = open_store(url)
        if not store.recording().stored:
            _fill(store, Population(options.exposures, options.users, options.feedback, pairs=1.0))
        print(f"{store.recording().stored:,} exposures, {options.users:,} users")
        for name, (rule, make_report) in REPORTS.items():
            _set_rule(url, rule)
            wall_s, cpu_s = min(_time_report(make_report, store) for _ in range(ROUNDS))
            print(f"{wall_s:8.2f} s {cpu_s:8.2f} s  {name}")
        store.close()


@contextmanager
def _database(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/store.db"


def _fill(store: Store, population: Population) -> None:
    rule = _canonical(TEST | {"unit": "user"})
    for batch in population.batches():
        adoptions = tuple(Adoption(a.at_ms, RULE_ID, rule) for a in batch.adoptions)
        store.record(replace(batch, adoptions=adoptions))


def _set_rule(url: str, rule: dict[str, Any]) -> None:
    terms = parse_rule(rule, KNOWN).experiment_terms
    assert terms
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(update(schema.epochs).values(rule=_canonical(rule), kind=rule["kind"]))
        for table in (schema.first_assignments, schema.unit_sums):
            connection.execute(update(table).values(experiment=terms.digest))
    engine.dispose()


def _canonical(rule: dict[str, Any]) -> str:
    return json.dumps(parse_rule(rule, KNOWN).content())


def _time_report(make_report: Callable[[Store], object], store: Store) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    make_report(store)
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
