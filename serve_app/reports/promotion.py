"""What speaks against serving all users with a version."""

from __future__ import annotations

from collections.abc import Iterator

from serve_app.evidence.verdict import Finding
from serve_app.reports.summaries import ExperimentSummary
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import Store

_ADVERSE = (Finding.WORSE, Finding.INVALID)
_DECIDED = (*_ADVERSE, Finding.BETTER, Finding.NO_DIFFERENCE)


def promotion_warnings(
    store: Store, experiments: list[ExperimentSummary], version: str
) -> Iterator[str]:
    """Warnings, one sentence each; none if the version is known to work.

    Args:
        experiments: All experiments, newest first.
    """
    served = store.exposure_sums(EVERYTHING, by=("assigned", "served_as_assigned"))
    if not any(row.assigned == version and row.served_as_assigned for row in served):
        copied = store.pair_sums(EVERYTHING, by=("candidate",))
        only = ", only copies" if any(row.candidate == version for row in copied) else ""
        yield f"{version} has never served a user{only}"
    tried = (experiment for experiment in experiments if experiment.arms[-1].version == version)
    last = next((experiment for experiment in tried if experiment.finding in _DECIDED), None)
    if last and last.finding in _ADVERSE:
        yield (
            f"the last report on {version} (experiment {last.name}) says {last.finding}:"
            f" {last.sentence}"
        )
