"""Experiments: the splits that reports are about, and their epochs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from serve_app.domain import Reason
from serve_app.errors import NothingToReport
from serve_app.evidence.srm import SrmCounts
from serve_app.reports.period import Period
from serve_app.rules.parse import read_rule
from serve_app.rules.rule import Rule
from serve_app.store.epochs import Epoch
from serve_app.store.store import Store

VersionLabels = Callable[[str], Collection[str]]  # version -> the labels that it knows


@dataclass(frozen=True)
class Experiment:
    """A split and its epochs.

    Attributes:
        name: The rule's `experiment`.
        unit: What the rule assigns: user, session or request.
        epochs: Oldest first; their rules differ in the weight only.
        control, treatment: The versions; stable and candidate in a canary.
    """

    name: str
    unit: str
    epochs: tuple[Epoch, ...]
    control: str
    treatment: str

    @property
    def epoch_numbers(self) -> tuple[int, ...]:
        return tuple(epoch.number for epoch in self.epochs)

    @cached_property
    def weights(self) -> dict[int, float]:
        """Epoch number -> configured share of treatment."""
        return {epoch.number: epoch_rule(epoch).share for epoch in self.epochs}

    @property
    def rule(self) -> Rule:
        """The rule of the newest epoch."""
        return epoch_rule(self.epochs[-1])

    def content(self) -> dict[str, Any]:
        """The experiment as JSON."""
        return {
            "experiment": self.name,
            "kind": self.epochs[-1].kind,
            "unit": self.unit,
            "control": self.control,
            "treatment": self.treatment,
            "epochs": [
                {
                    "epoch": epoch.number,
                    "rule_id": epoch.rule_id,
                    "weight": self.weights[epoch.number],
                    "from_ms": epoch.started_at_ms,
                    "to_ms": epoch.ended_at_ms,
                }
                for epoch in self.epochs
            ],
        }


def epoch_rule(epoch: Epoch) -> Rule:
    """The rule of an epoch; its versions may no longer be in the registry."""
    return read_rule(epoch.content)


def experiments(store: Store, period: Period) -> list[Experiment]:
    """All experiments that were in force in the period, oldest first."""
    epochs_by_name: dict[str, list[Epoch]] = {}
    for epoch in store.epochs_between(period.since_ms, period.until_ms):
        if epoch.experiment:
            epochs_by_name.setdefault(epoch.experiment, []).append(epoch)
    found = [_experiment(name, epochs) for name, epochs in epochs_by_name.items()]
    return sorted(found, key=lambda experiment: experiment.epochs[-1].started_at_ms)


def find_experiment(
    store: Store, kinds: Collection[str], period: Period, name: str | None
) -> Experiment:
    """The experiment of that name, or the newest, among those with a rule of some kinds.

    Raises:
        NothingToReport: There is none in the period.
    """
    candidates = [e for e in experiments(store, period) if e.epochs[-1].kind in kinds]
    matches = [e for e in candidates if name in (None, e.name)]
    if not matches:
        missing = f"experiment '{name[:50]}'" if name else "rule of this kind"
        others = ", ".join(e.name for e in candidates)
        raise NothingToReport(
            f"no {missing} was in force in this period"
            + (f": there is {others}" if others else ": deploy one, or give an earlier --since")
        )
    return matches[-1]


def covers_experiment(store: Store, experiment: Experiment, period: Period) -> bool:
    """Whether the period begins before the experiment.

    Always-valid intervals need data that accumulate from a fixed start. They do not hold for a
    period whose start moves from look to look.
    """
    epochs = store.epochs_between(None, period.until_ms)
    started_at_ms = min(e.started_at_ms for e in epochs if e.experiment == experiment.name)
    return period.since_ms <= started_at_ms


def srm_counts(store: Store, experiment: Experiment, period: Period) -> dict[str, list[SrmCounts]]:
    """Region -> the units by epoch of their first assignment."""
    arms: dict[tuple[str, int], list[int]] = {}
    for epoch, version, region, units in _first_assignments(store, experiment, period):
        if version in (experiment.control, experiment.treatment):
            arms.setdefault((region, epoch), [0, 0])[version == experiment.treatment] += units
    counts: dict[str, list[SrmCounts]] = {}
    for (region, epoch), (control, treatment) in sorted(arms.items()):
        weight = experiment.weights[epoch]
        counts.setdefault(region, []).append(SrmCounts(epoch, control, treatment, weight))
    return counts


def sum_regions(counts_by_region: dict[str, list[SrmCounts]]) -> list[SrmCounts]:
    """The counts of all regions together, by epoch."""
    epochs: dict[int, SrmCounts] = {}
    for counts in counts_by_region.values():
        for added in counts:
            total = epochs.get(added.epoch, SrmCounts(added.epoch, 0, 0, added.weight))
            epochs[added.epoch] = SrmCounts(
                added.epoch,
                total.control + added.control,
                total.treatment + added.treatment,
                added.weight,
            )
    return list(epochs.values())


def _first_assignments(
    store: Store, experiment: Experiment, period: Period
) -> list[tuple[int, str, str, int]]:
    """Rows of epoch, version, region and number of units."""
    scope = period.scope(experiment.epoch_numbers)
    if experiment.unit != "request":
        return [
            (first.epoch, first.version, first.region, first.units)
            for first in store.first_assignment_counts(experiment.name, scope)
        ]
    return [
        (s.epoch or 0, s.assigned or "", s.region or "", s.exposures)
        for s in store.exposure_sums(scope, by=("epoch", "assigned", "region", "reason"))
        if s.reason == Reason.SPLIT
    ]


def _experiment(name: str, epochs: list[Epoch]) -> Experiment:
    control, treatment = epoch_rule(epochs[-1]).versions.values()
    return Experiment(name, epochs[-1].unit or "", tuple(epochs), control, treatment)
