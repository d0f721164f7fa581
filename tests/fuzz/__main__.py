"""Tries random inputs: `python -m tests.fuzz TARGET --seed 1 --count 100000`.

A target is a function of `random.Random`. It raises if an input is handled wrongly, and returns
figures, of which the highest are printed. Each trial depends on the seed and its number alone:
`--only NUMBER` repeats one.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping

from tests.fuzz import configurations, images, requests

Target = Callable[[random.Random], Mapping[str, float]]

TARGETS: dict[str, Target] = {
    "configurations": configurations.trial,
    "images": images.trial,
    "requests": requests.trial,
}
PROGRESS_S = 30.0
STDERR = 2  # file descriptor
MAX_TRIAL_S = 60.0  # then the trial hangs: its stack is printed, and the process ends


def run(target: Target, seed: int, numbers: Iterable[int]) -> int:
    """Run the trials, print the highest figures and the failures; the number of failures."""
    highest: dict[str, tuple[float, int]] = {}
    failures = trials = 0
    reported = time.monotonic()
    for number in numbers:
        trials += 1
        faulthandler.dump_traceback_later(MAX_TRIAL_S, exit=True, file=STDERR)
        try:
            figures = target(random.Random(f"{seed} {number}"))  # noqa: S311 no secret
        except Exception:  # noqa: BLE001 whatever it is, it is reported
            failures += 1
            print(f"trial {number} failed:\n{traceback.format_exc()}", file=sys.stderr)
            continue
        finally:
            faulthandler.cancel_dump_traceback_later()
        for name, value in figures.items():
            highest[name] = max(highest.get(name, (value, number)), (value, number))
        if time.monotonic() - reported > PROGRESS_S:
            reported = time.monotonic()
            print(f"{trials} trials, {failures} failures", file=sys.stderr)
    for name, (value, number) in sorted(highest.items()):
        print(f"{name}: at most {value:.3f} (trial {number})")
    print(f"{trials} trials of seed {seed}, {failures} failures")
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="repeat one trial")
    options = parser.parse_args()
    numbers = range(options.count) if options.only is None else [options.only]
    sys.exit(run(TARGETS[options.target], options.seed, numbers) > 0)


if __name__ == "__main__":
    main()
