"""GrowthBook's intervals of a difference of shares.

Reads questions from standard input and writes answers to standard output, both JSON; see
`benchmarks.evidence.answers`.
"""

import json
import sys
from importlib.metadata import version

from gbstats.frequentist.tests import (  # type: ignore[import-not-found]
    FrequentistConfig,
    SequentialConfig,
    SequentialTwoSidedTTest,
    TwoSidedTTest,
)
from gbstats.models.statistics import ProportionStatistic  # type: ignore[import-not-found]

questions = json.load(sys.stdin)
rows = []
for control_units, control_events, treatment_units, treatment_events in questions["tables"]:
    arms = (
        ProportionStatistic(n=control_units, sum=control_events),
        ProportionStatistic(n=treatment_units, sum=treatment_events),
    )
    fixed = TwoSidedTTest(*arms, FrequentistConfig(difference_type="absolute"))
    answer = {"difference": fixed.point_estimate, "variance": fixed.variance}
    for tuned_for in questions["tuned_for"]:
        config = SequentialConfig(difference_type="absolute", sequential_tuning_parameter=tuned_for)
        result = SequentialTwoSidedTTest(*arms, config).compute_result()
        answer[f"tuned for {tuned_for}"] = None if result.error_message else result.ci
    rows.append(answer)
json.dump({"package": f"gbstats {version('gbstats')}", "rows": rows}, sys.stdout)
