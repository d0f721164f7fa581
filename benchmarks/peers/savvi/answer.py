"""savvi's p of a sample ratio mismatch.

Reads questions from standard input and writes answers to standard output, both JSON; see
`benchmarks.evidence.answers`.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
from savvi.multinomial import Multinomial  # type: ignore[import-not-found]

questions = json.load(sys.stdin)
rows = []
for control_units, treatment_units, weight, concentration in questions["counts"]:
    test = Multinomial(questions["alpha"], np.array([1 - weight, weight]), k=concentration)
    test.update(np.array([control_units, treatment_units]))
    rows.append(float(test.odds))
json.dump({"package": f"savvi {version('savvi')}", "rows": rows}, sys.stdout)
