"""The traffic report: exposures by rule, version and reason, with SRM checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from serve_app.evidence.srm import Srm, SrmCounts, check, check_slices, sum_slices
from serve_app.evidence.verdict import ArmNames
from serve_app.reports import experiment
from serve_app.reports.experiment import AssessedSplit
from serve_app.reports.parts import INLINE, Series
from serve_app.reports.period import CoveredPeriod, Period
from serve_app.rules.plan import Reason
from serve_app.store.epochs import Epoch
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.ingress_writers import Recording
from serve_app.store.store import Store


@dataclass(frozen=True, slots=True)
class Counts:
    """Exposures; `errors` include `fallbacks`, which stable served."""

    exposures: int
    errors: int
    fallbacks: int

    @classmethod
    def of(cls, sums: Iterable[ExposureSum]) -> Counts:
        """The totals of groups."""
        groups = list(sums)
        return cls(
            sum(group.exposures for group in groups),
            sum(group.errors for group in groups),
            sum(group.fallbacks for group in groups),
        )


@dataclass(frozen=True, slots=True)
class TrafficPoint:
    """The exposures of a time slot."""

    at_ms: int
    counts: Counts = field(metadata=INLINE)


@dataclass(frozen=True, slots=True)
class TrafficGroup:
    """The exposures of an epoch with one version and reason.

    Attributes:
        share: Of the exposures of the epoch.
    """

    version: str | None
    reason: str
    share: float
    counts: Counts = field(metadata=INLINE)
    mean_latency_ms: float


@dataclass(frozen=True, slots=True)
class TrafficEpoch:
    """An epoch and its exposures.

    Attributes:
        planned_share: Of the units, in treatment; None if the rule splits nothing.
        unit_share: Of the units that were first assigned in the epoch; None without any.
        exposure_share: Of the exposures with the reason `split`; None without any. It differs from
            the planned share because units have different numbers of exposures.
    """

    epoch: int
    rule_id: str
    kind: str
    experiment: str | None
    from_ms: int
    to_ms: int | None
    planned_share: float | None
    unit_share: float | None
    exposure_share: float | None
    exposures: int
    groups: tuple[TrafficGroup, ...]


@dataclass(frozen=True, slots=True)
class TrafficExperiment:
    """A split with its SRM check."""

    split: AssessedSplit = field(metadata=INLINE)
    srm: Srm
    srm_by_region: Mapping[str, Srm]

    @property
    def arms(self) -> ArmNames:
        return self.split.arms


@dataclass(frozen=True, slots=True)
class RegionCounts:
    """The exposures of a region; None is those without a region."""

    region: str | None
    counts: Counts = field(metadata=INLINE)


@dataclass(frozen=True, slots=True)
class RecordingCounts:
    """The completeness of the exposures; see `serve_app.store.ingress_writers.Recording`."""

    stored: int
    dropped: int
    missing: int
    without_epoch: int

    @classmethod
    def of(cls, recording: Recording) -> RecordingCounts:
        return cls(recording.stored, recording.dropped, recording.missing, recording.without_epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficAssessment:
    """The traffic of a period.

    Attributes:
        experiments: The splits. A shadow assigns no units, and is not among them.
    """

    report: Literal["traffic"] = "traffic"
    period: CoveredPeriod
    counts: Counts = field(metadata=INLINE)
    series: Series[TrafficPoint]
    epochs: tuple[TrafficEpoch, ...]
    without_epoch: int
    experiments: tuple[TrafficExperiment, ...]
    regions: tuple[RegionCounts, ...]
    recording: RecordingCounts


def assess(store: Store, period: Period) -> TrafficAssessment:
    """Assess the traffic of a period."""
    epochs = store.epochs_between(period.since_ms, period.until_ms)
    groups = store.exposure_sums(period.scope(), by=("epoch", "assigned", "reason"))
    units = [
        (split, experiment.srm_counts(store, split, period))
        for split in experiment.experiments(store, period)
        if split.rule.splits
    ]
    unit_shares = _unit_shares(counts for _, counts in units)
    return TrafficAssessment(
        period=period.covered,
        counts=Counts.of(groups),
        series=_series(store, period, epochs),
        epochs=tuple(
            _epoch(e, [g for g in groups if g.epoch == e.number], unit_shares.get(e.number))
            for e in epochs
        ),
        without_epoch=sum(g.exposures for g in groups if not g.epoch),
        experiments=tuple(
            TrafficExperiment(
                split.assessed(period), check(sum_slices(counts)), check_slices(counts)
            )
            for split, counts in units
        ),
        regions=tuple(
            RegionCounts(row.region or None, Counts.of([row]))
            for row in store.exposure_sums(period.scope(), by=("region",))
        ),
        recording=RecordingCounts.of(store.recording()),
    )


def split_shares(epoch: Epoch, groups: Iterable[ExposureSum]) -> tuple[float | None, float | None]:
    """The planned share of treatment in an epoch, and its share of the exposures; None if its rule
    splits nothing.

    Args:
        groups: The exposures of the epoch by version and reason.
    """
    rule = experiment.epoch_rule(epoch)
    if not rule.splits:
        return None, None
    split = [group for group in groups if group.reason == Reason.SPLIT]
    total = sum(group.exposures for group in split)
    treatment = sum(group.exposures for group in split if group.assigned == rule.candidate)
    return rule.share, treatment / total if total else None


def _series(store: Store, period: Period, epochs: list[Epoch]) -> Series[TrafficPoint]:
    slot_ms = period.slot_ms(epochs[0].started_at_ms if epochs else None)
    rows = store.exposure_sums(period.scope(), slot_ms=slot_ms)
    return Series(slot_ms, tuple(TrafficPoint(row.at_ms or 0, Counts.of([row])) for row in rows))


def _epoch(epoch: Epoch, groups: list[ExposureSum], unit_share: float | None) -> TrafficEpoch:
    total = sum(group.exposures for group in groups)
    planned_share, exposure_share = split_shares(epoch, groups)
    return TrafficEpoch(
        epoch=epoch.number,
        rule_id=epoch.rule_id,
        kind=epoch.kind,
        experiment=epoch.experiment,
        from_ms=epoch.started_at_ms,
        to_ms=epoch.ended_at_ms,
        planned_share=planned_share,
        unit_share=unit_share,
        exposure_share=exposure_share,
        exposures=total,
        groups=tuple(
            TrafficGroup(
                version=group.assigned or None,
                reason=group.reason or "",
                share=group.exposures / total,
                counts=Counts.of([group]),
                mean_latency_ms=group.latency_ms_sum / group.exposures,
            )
            for group in groups
        ),
    )


def _unit_shares(splits: Iterable[Mapping[str, list[SrmCounts]]]) -> dict[int, float]:
    """Epoch -> treatment's share of the units that were first assigned in it."""
    return {
        counts.epoch: counts.treatment / (counts.control + counts.treatment)
        for by_region in splits
        for counts in sum_slices(by_region)
    }
