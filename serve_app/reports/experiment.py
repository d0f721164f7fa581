"""Which rule a report is about, and when it was in force."""

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

Labels = Callable[[str], Collection[str]]  # of a version: those that it knows


@dataclass(frozen=True)
class Experiment:
    """A split and its epochs.

    Attributes:
        name: The rule's `experiment`.
        unit: Whom it assigns: user, session or request.
        epochs: Oldest first; the rules differ in weight at most.
        control, treatment: The versions; stable and candidate in a canary.
    """

    name: str
    unit: str
    epochs: tuple[Epoch, ...]
    control: str
    treatment: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """Those of its epochs."""
        return tuple(epoch.number for epoch in self.epochs)

    @cached_property
    def weights(self) -> dict[int, float]:
        """The share that treatment was to get, by epoch."""
        return {epoch.number: rule_of(epoch).share for epoch in self.epochs}

    @property
    def rule(self) -> Rule:
        """The newest."""
        return rule_of(self.epochs[-1])

    def content(self) -> dict[str, Any]:
        """As JSON."""
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


def rule_of(epoch: Epoch) -> Rule:
    """The rule of an epoch, whatever the registry has lost since."""
    return read_rule(epoch.content)


def experiments(store: Store, period: Period) -> list[Experiment]:
    """Every split that was in force in the period, the newest last."""
    named: dict[str, list[Epoch]] = {}
    for epoch in store.epochs_within(period.since_ms, period.until_ms):
        if epoch.experiment:
            named.setdefault(epoch.experiment, []).append(epoch)
    found = [_experiment(name, epochs) for name, epochs in named.items()]
    return sorted(found, key=lambda experiment: experiment.epochs[-1].started_at_ms)


def find(store: Store, kinds: Collection[str], period: Period, name: str | None) -> Experiment:
    """The experiment of that name, or the newest, if its rule is one of some kinds.

    Raises:
        NothingToReport: There is none in the period.
    """
    known = [e for e in experiments(store, period) if e.epochs[-1].kind in kinds]
    wanted = [e for e in known if name in (None, e.name)]
    if not wanted:
        what = f"experiment '{name[:50]}'" if name else "rule of this kind"
        others = ", ".join(e.name for e in known)
        raise NothingToReport(
            f"no {what} was in force in this period"
            + (f": there is {others}" if others else ": deploy one, or ask for a longer --since")
        )
    return wanted[-1]


def is_whole(store: Store, experiment: Experiment, period: Period) -> bool:
    """Whether the period has all of the experiment. What is always valid is so for data that
    gathers from one beginning on; a period that slides with the clock is new at every look."""
    every = store.epochs_within(None, period.until_ms)
    began_ms = min(e.started_at_ms for e in every if e.experiment == experiment.name)
    return period.since_ms <= began_ms


def srm_counts(store: Store, experiment: Experiment, period: Period) -> dict[str, list[SrmCounts]]:
    """The units at their first assignment, by region, of each epoch."""
    arms: dict[tuple[str, int], list[int]] = {}
    for epoch, version, region, units in _firsts(store, experiment, period):
        if version in (experiment.control, experiment.treatment):
            arms.setdefault((region, epoch), [0, 0])[version == experiment.treatment] += units
    counts: dict[str, list[SrmCounts]] = {}
    for (region, epoch), (control, treatment) in sorted(arms.items()):
        weight = experiment.weights[epoch]
        counts.setdefault(region, []).append(SrmCounts(epoch, control, treatment, weight))
    return counts


def together(slices: dict[str, list[SrmCounts]]) -> list[SrmCounts]:
    """The counts of all regions, by epoch."""
    epochs: dict[int, SrmCounts] = {}
    for one in (one for counts in slices.values() for one in counts):
        before = epochs.get(one.epoch, SrmCounts(one.epoch, 0, 0, one.weight))
        epochs[one.epoch] = SrmCounts(
            one.epoch, before.control + one.control, before.treatment + one.treatment, one.weight
        )
    return list(epochs.values())


def _firsts(
    store: Store, experiment: Experiment, period: Period
) -> list[tuple[int, str, str, int]]:
    scope = period.scope(experiment.numbers)
    if experiment.unit != "request":
        return [
            (first.epoch, first.version, first.region, first.units)
            for first in store.first_assignments(experiment.name, scope)
        ]
    return [
        (s.epoch or 0, s.assigned or "", s.region or "", s.exposures)
        for s in store.exposure_sums(scope, by=("epoch", "assigned", "region", "reason"))
        if s.reason == Reason.SPLIT
    ]


def _experiment(name: str, epochs: list[Epoch]) -> Experiment:
    control, treatment = rule_of(epochs[-1]).versions.values()
    return Experiment(name, epochs[-1].unit or "", tuple(epochs), control, treatment)
