"""Simulate what the intervals and e-values promise, compared with other packages.

    python -m benchmarks.evidence [--quick] [--write]

Prints the tables of docs/evidence-checks.md; --write puts them into the page. --quick simulates
fewer runs, for a look at the tables. The generator of a row is numpy's default_rng((SEED, table,
row)), where e-values add the number of a chunk of runs.
"""

from __future__ import annotations

import argparse
import platform
import time
from datetime import date
from importlib.metadata import version

from benchmarks.environments import ROOT
from benchmarks.evidence import answers, gates, intervals, page

SEED = 20_261
RUNS, QUICK_RUNS = 2000, 100
PAGE = ROOT / "docs" / "evidence-checks.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    runs = QUICK_RUNS if options.quick else RUNS
    started = time.monotonic()
    parts = {}
    for table in (*intervals.tables(runs, SEED), *gates.tables(runs, SEED)):
        parts[table.name] = page.markdown(table)
        print(f"\n{table.name}\n\n{parts[table.name]}", flush=True)
    parts["run"] = _describe_run(runs, time.monotonic() - started)
    print(f"\n{parts['run']}")
    if options.write:
        PAGE.write_text(page.fill(PAGE.read_text(), parts))


def _describe_run(runs: int, duration_s: float) -> str:
    ours = (f"{name} {version(name)}" for name in ("serve-app", "numpy", "scipy"))
    theirs = (answer["package"] for answer in answers.load().values())
    return (
        f"{date.today()}: {runs:,} runs of each row, seed {SEED}, in {duration_s:.0f} s;"
        f" Python {platform.python_version()}, {', '.join([*ours, *theirs])}."
    )


if __name__ == "__main__":
    main()
