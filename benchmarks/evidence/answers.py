"""What GrowthBook's, Spotify's and savvi's packages answer, recorded for the tests.

    python -m benchmarks.evidence.answers

The packages exclude each other (numpy below 2, numpy from 2.1 on, pandas below 3), so each has its
own environment in `build/bench`, from `benchmarks/peers/NAME/requirements.txt`. GrowthBook's needs
Python 3.11, the last one with wheels of the pandas that it asks for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.environments import CACHE, PEERS
from benchmarks.evidence.simulation import LOOKS
from serve_app.evidence.confidence import ALPHA, TUNED_FOR
from serve_app.evidence.srm import CONCENTRATIONS

FILE = Path(__file__).with_suffix(".json")

# units and events of control, units and events of treatment
Table = tuple[int, int, int, int]
TABLES: tuple[Table, ...] = (
    (20, 3, 20, 9),
    (250, 5, 250, 9),
    (2500, 175, 2500, 250),
    (25_000, 500, 25_000, 510),
    (500, 100, 400, 93),
    (4750, 95, 250, 6),
    (9900, 50, 100, 3),
    (3000, 3, 158, 0),
    (40, 0, 40, 40),
)
# units of control and of treatment, weight
COUNTS = (
    (480, 520, 0.5),
    (400, 330, 0.5),
    (870, 130, 0.1),
    (9_000, 1_150, 0.1),
    (19_700, 300, 0.02),
)
QUESTIONS: dict[str, Any] = {
    "growthbook": {"tables": TABLES, "tuned_for": [TUNED_FOR, 5000]},
    "spotify": {
        "looks": [(90 * k, 2 * k, 10 * k, k // 2) for k in range(1, LOOKS + 1)],
        "alpha": ALPHA,
    },
    "savvi": {
        "counts": [
            (*counts, concentration) for counts in COUNTS for concentration in CONCENTRATIONS
        ],
        "alpha": ALPHA,
    },
}


@cache
def load() -> dict[str, Any]:
    """The recorded answers: package -> its name with its version, and its rows."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def _ask(peer: str) -> Any:
    """Raises:
    CalledProcessError: The environment or the package fails.
    """
    python = CACHE / peer / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", CACHE / peer], check=True)
    install = (python, "-m", "pip", "install", "-qq", "--disable-pip-version-check")
    subprocess.run([*install, "--requirement", PEERS / peer / "requirements.txt"], check=True)
    answered = subprocess.run(
        [python, "-W", "ignore", PEERS / peer / "answer.py"],
        input=json.dumps(QUESTIONS[peer]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(answered.stdout)


def main() -> None:
    found = {peer: _ask(peer) for peer in QUESTIONS}
    FILE.write_text(json.dumps(found, indent=1) + "\n")
    for answer in found.values():
        print(answer["package"])


if __name__ == "__main__":
    main()
