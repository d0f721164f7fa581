"""What a page needs of the store at a glance: each version's traffic over time, and the shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from serve_app.evidence.latency import Quantiles
from serve_app.recording.records import CopyOutcome
from serve_app.reports.experiment import epoch_rule
from serve_app.reports.parts import INLINE, Series
from serve_app.reports.period import CoveredPeriod, Period
from serve_app.reports.traffic import Counts, split_shares
from serve_app.rules.plan import Reason
from serve_app.store.epochs import Epoch
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.latency_sums import Histogram
from serve_app.store.scope import Scope
from serve_app.store.store import Store


@dataclass(frozen=True, slots=True)
class VersionTraffic:
    """The exposures that were assigned a version; None is those without one.

    Attributes:
        mean_latency_ms, p50_ms, p95_ms: Of their latencies.
    """

    version: str | None
    counts: Counts = field(metadata=INLINE)
    mean_latency_ms: float
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class SlotTraffic:
    """The exposures of a version in a time slot."""

    at_ms: int
    traffic: VersionTraffic = field(metadata=INLINE)


@dataclass(frozen=True, slots=True)
class PresentEpoch:
    """The present epoch.

    Attributes:
        rule: As in the YAML, defaults filled in.
        sentence: Who gets which version.
        warnings: Settings of the rule that are allowed and not recommended.
        planned_share, actual_share: Of the candidate's requests in the period: assigned, or copied
            in a shadow. None if the rule has no share, or without exposures.
    """

    epoch: int
    rule_id: str
    kind: str
    rule: dict[str, Any]
    sentence: str
    warnings: tuple[str, ...]
    experiment: str | None
    from_ms: int
    planned_share: float | None
    actual_share: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The traffic of a period at a glance.

    Attributes:
        epoch: None before any rule was adopted.
        versions: Totals.
    """

    period: CoveredPeriod
    epoch: PresentEpoch | None
    versions: tuple[VersionTraffic, ...]
    series: Series[SlotTraffic]


def assess(store: Store, period: Period) -> Overview:
    """The overview of a period in all regions: the store has no latencies by region."""
    slot_ms = period.slot_ms(None)
    sums = store.exposure_sums(period.scope(), by=("assigned",), slot_ms=slot_ms)
    histograms = store.latency_histograms(
        period.scope(), "latency", by=("assigned",), slot_ms=slot_ms
    )
    return Overview(
        period=period.covered,
        epoch=_present_epoch(store, period),
        versions=tuple(
            _traffic(
                [row for row in sums if row.assigned == version],
                [found for found in histograms if found.assigned == version],
            )
            for version in sorted({row.assigned or "" for row in sums})
        ),
        series=Series(slot_ms, _points(sums, histograms)),
    )


def _points(sums: list[ExposureSum], histograms: list[Histogram]) -> tuple[SlotTraffic, ...]:
    by_slot = {(found.at_ms, found.assigned): [found] for found in histograms}
    return tuple(
        SlotTraffic(row.at_ms or 0, _traffic([row], by_slot.get((row.at_ms, row.assigned), [])))
        for row in sums
    )


def _traffic(sums: list[ExposureSum], histograms: Iterable[Histogram]) -> VersionTraffic:
    """The traffic of one version; at least one sum, in the same slots as the histograms."""
    counts = Counts.of(sums)
    buckets: Counter[int] = Counter()
    for found in histograms:
        buckets.update(dict(zip(found.buckets.tolist(), found.counts.tolist(), strict=True)))
    quantiles = Quantiles.of(buckets)
    latency_ms = sum(row.latency_ms_sum for row in sums) / counts.exposures
    return VersionTraffic(
        sums[0].assigned or None, counts, latency_ms, quantiles.p50, quantiles.p95
    )


def _present_epoch(store: Store, period: Period) -> PresentEpoch | None:
    newest = store.epochs(limit=1)
    if not newest:
        return None
    (epoch,) = newest
    planned_share, actual_share = _shares(store, epoch, period.scope([epoch.number]))
    rule = epoch_rule(epoch)
    return PresentEpoch(
        epoch.number,
        epoch.rule_id,
        epoch.kind,
        rule.content(),
        rule.sentence(),
        tuple(rule.warnings()),
        epoch.experiment,
        epoch.started_at_ms,
        planned_share,
        actual_share,
    )


def _shares(store: Store, epoch: Epoch, scope: Scope) -> tuple[float | None, float | None]:
    rule = epoch_rule(epoch)
    groups = store.exposure_sums(scope, by=("assigned", "reason"))
    if rule.mirror is None:
        return split_shares(epoch, groups)
    answered = sum(group.exposures for group in groups if group.reason != Reason.PINNED)
    outcomes = {row.outcome: row.pairs for row in store.pair_sums(scope, by=("outcome",))}
    copied = outcomes.get(CopyOutcome.COPIED, 0)
    # An exposure may be lost while its shadow pair is stored.
    return rule.share, min(1.0, copied / answered) if answered else None
