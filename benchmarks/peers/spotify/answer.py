"""Spotify's group-sequential intervals of a difference of shares, and the bounds of all looks.

Reads questions from standard input and writes answers to standard output, both JSON; see
`benchmarks.evidence.answers`.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from spotify_confidence import ZTest  # type: ignore[import-not-found]
from spotify_confidence.analysis.frequentist.confidence_computers.z_test_computer import (  # type: ignore[import-not-found]
    sequential_bounds,
)

questions = json.load(sys.stdin)
looks = len(questions["looks"])
frame = pd.DataFrame(
    [
        {"look": look, "arm": arm, "units": units, "events": events}
        for look, table in enumerate(questions["looks"], start=1)
        for arm, units, events in zip(
            ("control", "treatment"), table[::2], table[1::2], strict=True
        )
    ]
)
frame["final"] = sum(questions["looks"][-1][::2])
test = ZTest(
    frame,
    numerator_column="events",
    numerator_sum_squares_column="events",
    denominator_column="units",
    categorical_group_columns="arm",
    ordinal_group_column="look",
    interval_size=1 - questions["alpha"],
)
found = test.difference(
    "control", "treatment", groupby="look", final_expected_sample_size_column="final"
).sort_values("look")
bounds = sequential_bounds(np.arange(1, looks + 1) / looks, questions["alpha"], sides=2).df["zb"]
answer = {
    "package": f"spotify-confidence {version('spotify-confidence')}",
    "rows": found[["adjusted ci_lower", "adjusted ci_upper"]].to_numpy().tolist(),
    "bounds": bounds.tolist(),
}
json.dump(answer, sys.stdout)
