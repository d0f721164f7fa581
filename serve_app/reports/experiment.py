"""Experiments: the splits and shadows that reports are about, and their epochs.

The epochs of an experiment have the same terms: name, kind, versions, unit and outcome. Reports
never pour two experiments together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

from serve_app.clock import DAY_MS
from serve_app.errors import NothingToReport
from serve_app.evidence.settled import WeightPeriod
from serve_app.evidence.srm import SrmCounts
from serve_app.evidence.units import Ints
from serve_app.evidence.verdict import ArmNames, Pace
from serve_app.reports.period import Period
from serve_app.rules.parse import read_rule
from serve_app.rules.plan import Reason
from serve_app.rules.registry import KINDS, kinds_with_report
from serve_app.rules.rule import Rule
from serve_app.rules.split import Split
from serve_app.store.epochs import Epoch
from serve_app.store.store import Store

VersionLabels = Callable[[str], Collection[str]]  # version -> the labels that it knows

TITLES = {"canary": "canary", "ab": "A/B test", "shadow": "shadow"}
PART_OF_EXPERIMENT = (
    "Not known: this report covers only a part of the experiment, and its start moves from look to"
    " look. Leave `since` out for a verdict."
)


@dataclass(frozen=True, slots=True)
class SplitEpoch:
    """An epoch of a split, with the configured share of treatment."""

    epoch: int
    rule_id: str
    weight: float
    from_ms: int
    to_ms: int | None


@dataclass(frozen=True, slots=True)
class AssessedSplit:
    """The split that an assessment is about.

    Attributes:
        experiment: Its name.
        unit: What the rule assigns: user, session or request.
        arms: The names of the arms, which are keys of the JSON.
        control, treatment: The versions.
        epochs: Those in the period, oldest first.
        targeted_regions: The countries and groups whose units are assigned; empty for all.
        ended_ms: The end of its last epoch; None while it is in force.
        covers_experiment: Whether the period begins before the experiment.
    """

    experiment: str
    kind: str
    unit: str
    arms: ArmNames
    control: str
    treatment: str
    epochs: tuple[SplitEpoch, ...]
    targeted_regions: tuple[str, ...]
    ended_ms: int | None
    covers_experiment: bool


@dataclass(frozen=True)
class Experiment:
    """A split or a shadow, and its epochs.

    Attributes:
        epochs: Those in the period, oldest first; their rules differ in the weight only.
        started_at_ms: The start of its first epoch, in the period or not.
        ended_at_ms: The end of its last epoch; None while it is in force.
    """

    epochs: tuple[Epoch, ...]
    started_at_ms: int
    ended_at_ms: int | None

    @property
    def name(self) -> str:
        return self.epochs[-1].experiment or ""

    @property
    def kind(self) -> str:
        return self.epochs[-1].kind

    @property
    def digest(self) -> str:
        """The digest of its terms, which names it in the store."""
        return _digest(self.rule)

    @property
    def unit(self) -> str:
        """What the rule assigns: user, session or request; empty for a shadow."""
        return self.epochs[-1].unit or ""

    @property
    def settle_ms(self) -> int:
        """The age at which a unit of a split counts."""
        assert isinstance(self.rule, Split)  # noqa: S101 a shadow assigns no units
        return self.rule.settle_ms

    @property
    def arms(self) -> ArmNames:
        """The names of its arms: the keys of the versions in the rule."""
        return ArmNames(*self.rule.arm_names)

    @property
    def control(self) -> str:
        """The version of control; stable in a canary or a shadow."""
        return self.rule.stable

    @property
    def treatment(self) -> str:
        """The version of treatment; the candidate in a canary or a shadow."""
        return self.rule.candidate or ""

    @property
    def epoch_numbers(self) -> tuple[int, ...]:
        return tuple(epoch.number for epoch in self.epochs)

    @cached_property
    def weights(self) -> dict[int, float]:
        """Epoch number -> configured share of treatment, or of copies."""
        return {epoch.number: epoch_rule(epoch).share for epoch in self.epochs}

    @property
    def weight_periods(self) -> list[WeightPeriod]:
        """The epochs with their weights, oldest first."""
        return [
            WeightPeriod(e.number, e.started_at_ms, e.ended_at_ms, self.weights[e.number])
            for e in self.epochs
        ]

    @cached_property
    def rule(self) -> Rule:
        """The rule of the newest epoch."""
        return epoch_rule(self.epochs[-1])

    def pace(self, assigned_at_ms: Ints, as_of_ms: int, wait_ms: int) -> Pace | None:
        """The new units of the last day. After the end it is not known, and None once all units
        are old enough to count.

        Args:
            assigned_at_ms: [n], the first assignment of each unit.
            wait_ms: The age at which a unit counts.
        """
        if self.ended_at_ms is not None and self.ended_at_ms <= as_of_ms:
            return None if self.ended_at_ms + wait_ms <= as_of_ms else Pace(None)
        day_ms = min(DAY_MS, as_of_ms - self.started_at_ms)
        recent = int((assigned_at_ms >= as_of_ms - day_ms).sum())
        return Pace(recent * DAY_MS / day_ms if recent and day_ms > 0 else None)

    def is_covered_by(self, period: Period) -> bool:
        """Whether the period begins before the experiment.

        Always-valid intervals need data that accumulate from a fixed start. They do not hold for a
        period whose start moves from look to look.
        """
        return period.since_ms <= self.started_at_ms

    def assessed(self, period: Period) -> AssessedSplit:
        """The split as a part of an assessment."""
        return AssessedSplit(
            self.name,
            self.kind,
            self.unit,
            self.arms,
            self.control,
            self.treatment,
            tuple(
                SplitEpoch(
                    e.number, e.rule_id, self.weights[e.number], e.started_at_ms, e.ended_at_ms
                )
                for e in self.epochs
            ),
            tuple(self.rule.content().get("regions") or ()),
            self.ended_at_ms,
            self.is_covered_by(period),
        )


def epoch_rule(epoch: Epoch) -> Rule:
    """The rule of an epoch; its versions may no longer be in the registry."""
    return read_rule(epoch.content)


def experiments(store: Store, period: Period) -> list[Experiment]:
    """All experiments that were in force in the period, oldest first."""
    groups: dict[str, list[Epoch]] = {}
    for epoch in store.epochs_between():
        if epoch.experiment and epoch.kind in KINDS:  # a strategy that was removed has no report
            groups.setdefault(_digest(epoch_rule(epoch)), []).append(epoch)
    found = [
        Experiment(inside, epochs[0].started_at_ms, epochs[-1].ended_at_ms)
        for epochs in groups.values()
        if (inside := tuple(epoch for epoch in epochs if _is_in(epoch, period)))
    ]
    return sorted(found, key=lambda experiment: experiment.epochs[-1].started_at_ms)


def find_experiment(store: Store, report: str, period: Period, name: str | None) -> Experiment:
    """The experiment of that name, or the newest, among those that a report assesses.

    Raises:
        NothingToReport: There is none in the period.
    """
    kinds = kinds_with_report(report)
    candidates = [e for e in experiments(store, period) if e.kind in kinds]
    matches = [e for e in candidates if name in (None, e.name)]
    if not matches:
        missing = f"experiment '{name[:50]}'" if name else TITLES[report]
        others = ", ".join(dict.fromkeys(e.name for e in candidates))
        raise NothingToReport(
            f"no {missing} was in force in this period"
            + (f": there is {others}" if others else ": deploy one, or give an earlier --since")
        )
    return matches[-1]


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


def _digest(rule: Rule) -> str:
    terms = rule.experiment_terms
    assert terms is not None  # noqa: S101 every experiment has terms
    return terms.digest


def _is_in(epoch: Epoch, period: Period) -> bool:
    has_ended = epoch.ended_at_ms is not None and epoch.ended_at_ms <= period.since_ms
    return epoch.started_at_ms < period.until_ms and not has_ended


def _first_assignments(
    store: Store, experiment: Experiment, period: Period
) -> list[tuple[int, str, str, int]]:
    """Rows of epoch, version, region and number of units."""
    scope = period.scope(experiment.epoch_numbers)
    if experiment.unit != "request":
        return [
            (first.epoch, first.version, first.region, first.units)
            for first in store.first_assignment_counts(experiment.digest, scope)
        ]
    return [
        (s.epoch or 0, s.assigned or "", s.region or "", s.exposures)
        for s in store.exposure_sums(scope, by=("epoch", "assigned", "region", "reason"))
        if s.reason == Reason.SPLIT
    ]
