"""The shadow report: the candidate's predictions on copies, compared with stable's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from serve_app.clock import HOUR_MS, MINUTE_MS
from serve_app.evidence import shadow as estimates
from serve_app.evidence.clusters import design_effect, images_per_unit
from serve_app.evidence.confidence import Interval, complement
from serve_app.evidence.copies import Copies, Load, weight_copies
from serve_app.evidence.load import LoadSummary, summarize_load
from serve_app.evidence.shadow import Transitions
from serve_app.evidence.tolerance import Tolerated
from serve_app.evidence.units import Texts
from serve_app.evidence.verdict import VERSIONS, ArmNames, Finding, Verdict
from serve_app.recording.records import CopyOutcome
from serve_app.reports import reviews
from serve_app.reports.copies import AssessedRate, CopiesRate, shadow_load, tried_copies
from serve_app.reports.experiment import PART_OF_EXPERIMENT, Experiment, VersionLabels
from serve_app.reports.parts import INLINE, DriftCheck, KnownLabels, Roles
from serve_app.reports.period import CoveredPeriod, Period
from serve_app.reports.reviews import AssessedReviews, AssessedTold
from serve_app.rules.shadow import Shadow
from serve_app.store.pair_sums import PairSum
from serve_app.store.store import Store
from serve_app.store.unit_pairs import UnitPairs


@dataclass(frozen=True, slots=True)
class ShadowEpoch:
    """An epoch of a shadow, with the share of requests that is copied."""

    epoch: int
    rule_id: str
    sample: float
    from_ms: int
    to_ms: int | None


@dataclass(frozen=True, slots=True)
class RegionRate:
    """A rate in a region; None is the images without a region."""

    region: str | None
    rate: CopiesRate = field(metadata=INLINE)


@dataclass(frozen=True, slots=True)
class HourRate:
    """A rate in an hour that begins at `at_ms`."""

    at_ms: int
    rate: CopiesRate = field(metadata=INLINE)


@dataclass(frozen=True, slots=True)
class NewLabels:
    """How often the candidate predicts a label that stable does not know, right or wrong."""

    rate: CopiesRate
    by_region: tuple[RegionRate, ...]
    by_hour: tuple[HourRate, ...]


@dataclass(frozen=True, slots=True)
class ModelTimes:
    """Mean model times in ms on the same images, over whole UTC days; None without pairs.

    Attributes:
        difference: The candidate's less stable's, with its always valid interval.
        pairs: Images with both times.
    """

    stable: float | None
    candidate: float | None
    difference: float | None
    interval: Interval
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowAssessment:
    """Labels, latency and load of a shadow's candidate.

    Attributes:
        ended_ms: The end of its last epoch; None while it is in force.
        finding: Worse, if more copies fail than is tolerated; else which version is right, by the
            reviewed images.
        covered_share: The share of the answered images in times of which there are copies.
        failures: Copies that failed.
        disagreement: Other labels than stable's, where the candidate predicts a shared label.
        agreement_with_failures: The agreement if each failed copy were a disagreement.
        images: Those that stable answered, pinned ones excluded, and those that were copied.
        outcomes: Outcome -> copies.
        errors: Error code -> copies that failed or were shed.
        latency_ms: The means of the copied images; None without any.
        drift: Of the labels, from the first half of the copies to the second, at like hours.
        told: By the true labels that users told.
    """

    report: Literal["shadow"] = "shadow"
    period: CoveredPeriod
    experiment: str
    kind: str
    stable: str
    candidate: str
    epochs: tuple[ShadowEpoch, ...]
    ended_ms: int | None
    covers_experiment: bool
    arms: ArmNames
    finding: Finding
    sentence: str
    labels: KnownLabels
    images: Roles[int]
    outcomes: Mapping[str, int]
    errors: Mapping[str, int]
    covered_share: float
    failures: AssessedRate
    disagreement: AssessedRate
    agreement: CopiesRate
    agreement_with_failures: CopiesRate
    transitions: Transitions
    new_labels: NewLabels
    images_per_unit: float
    model_ms: ModelTimes
    latency_ms: Roles[float | None]
    load: LoadSummary
    drift: Roles[DriftCheck]
    reviews: AssessedReviews
    told: AssessedTold


def assess(
    store: Store, period: Period, labels: VersionLabels, shadow: Experiment
) -> ShadowAssessment:
    """Assess a shadow.

    Args:
        labels: The labels that a version knows.
    """
    rule = shadow.rule
    assert isinstance(rule, Shadow)  # noqa: S101 the report of this kind
    stable, candidate = shadow.control, shadow.treatment
    scope = period.scope(shadow.epoch_numbers)
    known = KnownLabels.of(labels(stable), labels(candidate))

    pairs, sums = store.pair_counts(scope), store.pair_sums(scope, by=("outcome", "error"))
    copied_sums = [row for row in sums if row.outcome == CopyOutcome.COPIED]
    load = shadow_load(
        store.exposure_sums(scope, by=("epoch", "reason"), slot_ms=MINUTE_MS), pairs, shadow
    )
    copies = tried_copies(pairs)
    predicted = copies.select(copies.candidate != "")
    unit_pairs = store.unit_pairs(period.whole_days.scope(scope.epochs), known.shared)
    cluster_size = images_per_unit(unit_pairs.unit, unit_pairs.pairs)
    agreement = _agreement(copies, load, known, unit_pairs, with_failures=False)
    failures = AssessedRate.of(_failures(copies, load, unit_pairs), rule.tolerances.failures)
    disagreement = AssessedRate.of(
        CopiesRate(complement(agreement.rate), agreement.images), rule.tolerances.disagreement
    )
    reviewed, by_reviews = reviews.assess(store, scope, stable, candidate, known.shared)
    verdict = (
        _decide(failures, disagreement, by_reviews, has_ended=shadow.ended_at_ms is not None)
        if shadow.is_covered_by(period)
        else Verdict(Finding.NOT_KNOWN, PART_OF_EXPERIMENT)
    )
    return ShadowAssessment(
        period=period.covered,
        experiment=shadow.name,
        kind=shadow.kind,
        stable=stable,
        candidate=candidate,
        epochs=tuple(
            ShadowEpoch(
                e.number, e.rule_id, shadow.weights[e.number], e.started_at_ms, e.ended_at_ms
            )
            for e in shadow.epochs
        ),
        ended_ms=shadow.ended_at_ms,
        covers_experiment=shadow.is_covered_by(period),
        arms=VERSIONS,
        finding=verdict.finding,
        sentence=verdict.sentence,
        labels=known,
        images=Roles(int(load.answered.sum()), int(load.copied.sum())),
        outcomes={
            outcome.value: sum(row.pairs for row in sums if row.outcome == outcome)
            for outcome in CopyOutcome
        },
        errors=_errors(sums),
        covered_share=weight_copies(copies, load).covered_share,
        failures=failures,
        disagreement=disagreement,
        agreement=agreement,
        agreement_with_failures=_agreement(copies, load, known, unit_pairs, with_failures=True),
        transitions=estimates.estimate_transitions(copies, load),
        new_labels=_new_labels(copies, load, known, unit_pairs),
        images_per_unit=cluster_size,
        model_ms=_model_ms(unit_pairs),
        latency_ms=Roles(
            candidate=_mean(
                _sum(copied_sums, "latency_ms_sum"), _sum(copied_sums, "latency_ms_count")
            ),
            stable=_mean(
                _sum(copied_sums, "live_latency_ms_sum"),
                _sum(copied_sums, "live_latency_ms_count"),
            ),
        ),
        load=summarize_load(load),
        drift=Roles(
            stable=_drift(predicted, predicted.stable, cluster_size),
            candidate=_drift(predicted, predicted.candidate, cluster_size),
        ),
        reviews=reviewed,
        told=reviews.assess_told(store, scope),
    )


def _decide(
    failures: AssessedRate, disagreement: AssessedRate, by_reviews: Verdict, *, has_ended: bool
) -> Verdict:
    """Too many failed copies are worse. Disagreement is not, because the candidate may be right."""
    failed = failures.sentence("Copies that failed", has_ended=has_ended)
    if failures.tolerated.finding is Tolerated.BEYOND:
        return Verdict(Finding.WORSE, failed)
    disagreed = disagreement.sentence("Disagreement on labels that both know", has_ended=has_ended)
    return Verdict(by_reviews.finding, f"{by_reviews.sentence} {failed} {disagreed}")


def _failures(copies: Copies, load: Load, unit_pairs: UnitPairs) -> CopiesRate:
    tried = unit_pairs.pairs + unit_pairs.failed
    effect = design_effect(unit_pairs.unit, tried, unit_pairs.failed)
    return CopiesRate.of(estimates.estimate_failure_rate(copies, load, effect))


def _agreement(
    copies: Copies, load: Load, known: KnownLabels, unit_pairs: UnitPairs, *, with_failures: bool
) -> CopiesRate:
    compared = unit_pairs.compared + unit_pairs.failed * with_failures
    effect = design_effect(unit_pairs.unit, compared, unit_pairs.agreed)
    return CopiesRate.of(
        estimates.estimate_agreement(
            copies, load, known.shared, effect, with_failures=with_failures
        )
    )


def _new_labels(copies: Copies, load: Load, known: KnownLabels, unit_pairs: UnitPairs) -> NewLabels:
    effect = design_effect(unit_pairs.unit, unit_pairs.pairs, unit_pairs.new)
    effects_by_region = {
        region: design_effect(in_region.unit, in_region.pairs, in_region.new)
        for region, in_region in _by_region(unit_pairs)
    }
    shared = known.shared
    by_region = estimates.estimate_new_label_rate_by_region(copies, load, shared, effects_by_region)
    by_hour = estimates.estimate_new_label_rate_by_hour(copies, load, shared, effect)
    return NewLabels(
        CopiesRate.of(estimates.estimate_new_label_rate(copies, load, shared, effect)),
        tuple(RegionRate(region or None, CopiesRate.of(r)) for region, r in by_region.items()),
        tuple(HourRate(hour * HOUR_MS, CopiesRate.of(rate)) for hour, rate in by_hour.items()),
    )


def _by_region(unit_pairs: UnitPairs) -> Iterator[tuple[str, UnitPairs]]:
    for region in unit_pairs.region.categories:
        yield region, unit_pairs.select(unit_pairs.region.equals(region))


def _errors(sums: list[PairSum]) -> dict[str, int]:
    errors: dict[str, int] = {}
    for row in sums:
        if row.error:
            errors[row.error] = errors.get(row.error, 0) + row.pairs
    return errors


def _model_ms(unit_pairs: UnitPairs) -> ModelTimes:
    difference, interval = estimates.estimate_latency_difference(
        unit_pairs.unit,
        unit_pairs.model_ms_count,
        unit_pairs.model_ms_sum - unit_pairs.live_model_ms_sum,
        unit_pairs.squared_difference_sum,
    )
    count = float(unit_pairs.model_ms_count.sum())
    return ModelTimes(
        stable=_mean(float(unit_pairs.live_model_ms_sum.sum()), count),
        candidate=_mean(float(unit_pairs.model_ms_sum.sum()), count),
        difference=difference,
        interval=interval,
        pairs=int(count),
    )


def _drift(copies: Copies, labels: Texts, cluster_size: float) -> DriftCheck:
    found = estimates.estimate_drift(copies.minute, labels, copies.images, cluster_size)
    return DriftCheck.of(found)


def _sum(sums: list[PairSum], name: str) -> float:
    return float(sum(getattr(row, name) for row in sums))


def _mean(total: float, count: float) -> float | None:
    return total / count if count else None
