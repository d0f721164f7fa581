"""All experiments at a glance: what was compared, when, on how many units, with which finding."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from serve_app.errors import Problem
from serve_app.evidence.verdict import Finding
from serve_app.reports.assessment import EXPERIMENT_REPORTS, ExperimentAssessment
from serve_app.reports.experiment import Experiment, VersionLabels, experiments
from serve_app.reports.period import Period, parse_period
from serve_app.reports.shadow import ShadowAssessment
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import Store

_ADVERSE = (Finding.WORSE, Finding.INVALID)
_DECIDED = (*_ADVERSE, Finding.BETTER, Finding.NO_DIFFERENCE)


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """An arm of an experiment.

    Attributes:
        arm: The key of its version in the rule, such as stable or treatment.
        units: See `ExperimentSummary.unit`; None if the experiment cannot be assessed.
    """

    arm: str
    version: str
    units: int | None


@dataclass(frozen=True, slots=True)
class ExperimentSummary:
    """An experiment at a glance.

    Attributes:
        report: The report that assesses it.
        unit: What the arms count: user, session, request, or the image of a shadow.
        shares: The planned shares of the candidate or treatment, one after the other.
        to_ms: The end of its last epoch; None while it is in force.
        finding: Of its report; None if it cannot be assessed, and `sentence` says why.
    """

    name: str
    kind: str
    report: str
    unit: str
    arms: tuple[ArmSummary, ...]
    shares: tuple[float, ...]
    from_ms: int
    to_ms: int | None
    finding: Finding | None
    sentence: str


class Summaries:
    """Summarizes experiments. Thread-safe.

    Late records, feedback and reviews change the summary of an experiment after its end, and ever
    more rarely: it is made again whenever the time since the end has doubled.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # number of the last epoch -> its summary, and when it was made
        self._made: dict[int, tuple[ExperimentSummary, int]] = {}

    def summarize(
        self, store: Store, labels: VersionLabels, now_ms: int, treatment: str | None = None
    ) -> Iterator[ExperimentSummary]:
        """The summaries of the experiments, newest first; each is made when it is asked for.

        Args:
            treatment: Only experiments that try this version; None for all.
        """
        period = parse_period(now_ms, None)
        for found in reversed(experiments(store, period)):
            if treatment in (None, found.treatment):
                with self._lock:
                    summary = self._find(found, now_ms)
                    summary = summary or self._make(store, period, labels, found, now_ms)
                yield summary

    def _find(self, experiment: Experiment, now_ms: int) -> ExperimentSummary | None:
        """The summary that was made before, if it still holds."""
        ended_ms = experiment.ended_at_ms
        summary, made_ms = self._made.get(experiment.epochs[-1].number, (None, 0))
        is_current = ended_ms is not None and now_ms - ended_ms < 2 * (made_ms - ended_ms)
        return summary if is_current else None

    def _make(
        self,
        store: Store,
        period: Period,
        labels: VersionLabels,
        experiment: Experiment,
        now_ms: int,
    ) -> ExperimentSummary:
        try:
            assess = EXPERIMENT_REPORTS[experiment.rule.report]
            summary = _summary(experiment, assess(store, period, labels, experiment))
        except Problem as exc:
            return _summary(experiment, None, str(exc))
        self._made[experiment.epochs[-1].number] = (summary, now_ms)
        return summary


def promotion_warnings(
    store: Store, tried: Iterable[ExperimentSummary], version: str
) -> Iterator[str]:
    """What speaks against serving all users with a version, one sentence each.

    Args:
        tried: The experiments that tried it, newest first.
    """
    served = store.exposure_sums(EVERYTHING, by=("assigned", "served_as_assigned"))
    if not any(row.assigned == version and row.served_as_assigned for row in served):
        copied = store.pair_sums(EVERYTHING, by=("candidate",))
        only = ", only copies" if any(row.candidate == version for row in copied) else ""
        yield f"{version} has never served a user{only}"
    last = next((experiment for experiment in tried if experiment.finding in _DECIDED), None)
    if last and last.finding in _ADVERSE:
        yield (
            f"the last report on {version} (experiment {last.name}) says {last.finding}:"
            f" {last.sentence}"
        )


def _summary(
    experiment: Experiment, assessed: ExperimentAssessment | None, obstacle: str = ""
) -> ExperimentSummary:
    """The summary of an experiment.

    Args:
        obstacle: Why it cannot be assessed.
    """
    arms = experiment.rule.versions.items()
    units = _units(assessed) if assessed else (None, None)
    return ExperimentSummary(
        name=experiment.name,
        kind=experiment.kind,
        report=experiment.rule.report,
        unit=experiment.unit or "image",
        arms=tuple(ArmSummary(*arm, count) for arm, count in zip(arms, units, strict=True)),
        shares=tuple(share for share, _ in groupby(experiment.weights.values())),
        from_ms=experiment.started_at_ms,
        to_ms=experiment.ended_at_ms,
        finding=assessed.finding if assessed else None,
        sentence=assessed.sentence if assessed else obstacle,
    )


def _units(assessed: ExperimentAssessment) -> tuple[int, int]:
    if isinstance(assessed, ShadowAssessment):
        return assessed.images.stable, assessed.images.candidate
    return assessed.srm.control, assessed.srm.treatment
