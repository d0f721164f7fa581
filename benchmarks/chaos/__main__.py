"""Break parts of a running service under load, and count what its clients see.

    python -m benchmarks.chaos [--quick] [--only TEXT] [--seed N] [--write]

For each fault, clients send images and feedback; after a few seconds the fault strikes, and they
go on until it is over. The seed decides the users, the images and the moment. Prints a table;
--write puts it into docs/reliability.md. --quick has two faults. Exits with 1 if clients saw more
of a fault than it allows. Linux only; takes nine minutes.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from rich.console import Console

from benchmarks.chaos.faults import FAULTS, QUICK, Fault
from benchmarks.chaos.load import Load
from benchmarks.chaos.outcome import Outcome, judge, table
from benchmarks.chaos.results import describe_run, format_table, write
from benchmarks.chaos.service import RULES, SINGLE, CommandFailed, Service, run_service
from benchmarks.environments import ROOT
from benchmarks.evidence import page
from serve_app.home import DATABASE_VARIABLE

SEED = 20_261
EXAMPLES = ROOT / "docs" / "examples"
PHOTO_PIXELS = (800, 600)  # of noise: 1.4 MB as a PNG
DELIVERY_S = 4.0  # until the last records are in the store
BEFORE_S = (2.0, 4.0)  # of load before a fault


def main() -> None:
    options = _parse_arguments()
    os.environ.pop(DATABASE_VARIABLE, None)  # only a store in the home directory is damaged
    faults = [
        fault
        for fault in (QUICK if options.quick else FAULTS)
        if options.only in f"{fault.name}, {RULES[fault.configuration]}"
    ]
    if not faults:
        sys.exit(f"no fault or rule has {options.only!r} in its name")
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    started = time.monotonic()
    outcomes: list[Outcome] = []
    wrong: list[str] = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="chaos-") as folder,
            run_service(Path(folder), SINGLE) as service,
        ):
            for fault in faults:
                console.print(f"{fault.name}, {RULES[fault.configuration]}")
                outcomes.append(_try(fault, service, options.seed))
    except CommandFailed as exc:
        wrong.append(str(exc))
    measured = table(outcomes)
    run = describe_run(time.monotonic() - started, f"seed {options.seed}")
    console.print(format_table(measured), run)
    if options.write and len(outcomes) == len(FAULTS):
        write({"faults": page.markdown(measured), "run": run})
    wrong += [f"{o.fault.name}: {', '.join(o.faults)}" for o in outcomes if o.faults]
    sys.exit("\n".join(wrong) or None)


def _try(fault: Fault, service: Service, seed: int) -> Outcome:
    """Let a fault strike a steady service under load."""
    service.use(fault.configuration)
    service.wait_until_steady()
    rng = random.Random(f"{seed} {fault.name} {fault.configuration}")  # noqa: S311 no secret
    images = [path.read_bytes() for path in sorted(EXAMPLES.glob("*.png"))]
    try:
        with Load([_photo(rng)] if fault.has_photos else images, rng.randrange(2**32)) as load:
            service.wait(rng.uniform(*BEFORE_S))
            began = time.monotonic()
            fault.strike(service)
            service.wait(fault.observed_s)
            ended = time.monotonic()
    finally:
        service.resume()
    service.wait_until_steady()
    service.wait(DELIVERY_S)
    return judge(fault, load.answers, (began, ended), service.home)


def _photo(rng: random.Random) -> bytes:
    """A PNG that does not fit the buffer of HAProxy."""
    width, height = PHOTO_PIXELS
    file = io.BytesIO()
    noise = rng.randbytes(3 * width * height)
    Image.frombytes("RGB", PHOTO_PIXELS, noise).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", metavar="TEXT", help="a part of FAULT, RULE")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write and (options.quick or options.only):
        parser.error("--write needs all faults: leave out --quick and --only")
    return options


if __name__ == "__main__":
    main()
