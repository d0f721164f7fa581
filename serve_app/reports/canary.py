"""Does the candidate work? A canary, by the versions that units were assigned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from serve_app.clock import DAY_MS, HOUR_MS
from serve_app.domain import Reason
from serve_app.evidence.clusters import images_per_unit
from serve_app.evidence.comparison import Comparison, compare
from serve_app.evidence.confidence import ALPHA, Interval, bonferroni
from serve_app.evidence.drift import drift
from serve_app.evidence.events import event_interval
from serve_app.evidence.latency import quantile
from serve_app.evidence.srm import Srm, check
from serve_app.evidence.units import Floats, Ints, UnitSums, strata
from serve_app.evidence.units import Labels as Texts
from serve_app.evidence.verdict import Finding, Measure, mismatch
from serve_app.reports import experiment, to_json
from serve_app.reports.experiment import Experiment, Labels
from serve_app.reports.label_mix import LabelMix, weighed
from serve_app.reports.period import Period
from serve_app.store import units
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.store import Store

KINDS = ("canary_rolling", "canary_parallel")
ERRORS = Measure("answers that failed", "decrease", 0.01)
SLOWER = 0.10  # of stable's mean, from which on a candidate that is slower matters
QUANTILES = (0.5, 0.95, 0.99)


def report(store: Store, period: Period, labels: Labels, name: str | None) -> dict[str, Any]:
    """How the candidate did beside stable, on the same days.

    What is measured is measured by unit, on all days that the period touches.

    Args:
        labels: Those that a version knows.
        name: The experiment's; None for the newest canary.

    Raises:
        NothingToReport: There was no canary.
    """
    found = experiment.find(store, KINDS, period, name)
    scope = period.scope(found.numbers)
    days = period.whole_days
    met = store.unit_sums(found.name, days.scope(found.numbers))
    slices = experiment.srm_counts(store, found, period)
    srm = check(experiment.together(slices))
    keys = ("epoch", "assigned", "as_assigned", "reason", "label")
    sums = store.exposure_sums(scope, by=keys, slot_ms=HOUR_MS)
    answers = LabelMix.of(found, sums)
    measures = _measures(found, met, srm)
    each = images_per_unit(met.unit, met.exposures.astype(np.float64))
    return {
        "report": "canary",
        "period": period.content(),
        **found.content(),
        "whole": experiment.is_whole(store, found, period),
        **_together(measures, srm),
        "srm": to_json.mismatch(srm),
        "measured": {
            "since_ms": max(days.since_ms, found.epochs[0].started_at_ms // DAY_MS * DAY_MS),
            "until_ms": days.until_ms,
        },
        "measures": measures,
        "regions": [
            {"region": region or None, **shown}
            for region, shown in _slices(found, met, met.region.texts())
        ],
        "by_epoch": [
            {"epoch": epoch, "weight": found.weights[epoch], **shown}
            for epoch, shown in _slices(found, met, met.epoch)
        ],
        "latency_ms": _quantiles(store, found, period, "latency"),
        "model_ms": _quantiles(store, found, period, "model"),
        "classes": _classes(found, answers, each, labels),
        "confidence": {
            version: to_json.number(answers.confidence(arm))
            for arm, version in enumerate((found.control, found.treatment))
        },
        "reasons": _reasons(sums),
        "series": _series(store, found, period),
    }


def unit_sums(
    found: Experiment,
    met: units.UnitExposureSums,
    x: Floats,
    y: Floats,
    stratum: Ints | None = None,
) -> UnitSums:
    """The rows of units that were assigned one of the two versions, ready to be compared.

    Args:
        stratum: Of each row; by default days of epochs.
    """
    treated = met.assigned.equals(found.treatment)
    ours = treated | met.assigned.equals(found.control)
    if stratum is None:
        stratum = strata(met.epoch, met.day, treated)
    return UnitSums(met.unit[ours], stratum[ours], treated[ours], x[ours], y[ours])


def _measures(found: Experiment, met: units.UnitExposureSums, srm: Srm) -> list[dict[str, Any]]:
    exposures = met.exposures.astype(np.float64)
    errors, sure = _failures(found, met)
    latency = compare(unit_sums(found, met, exposures, met.latency_sum))
    modelled = unit_sums(found, met, met.modelled.astype(np.float64), met.model_sum)
    return [
        to_json.measured(ERRORS, errors, srm, sure),
        to_json.measured(_time("latency", latency), latency, srm),
        to_json.measured(_time("model time", model := compare(modelled)), model, srm),
    ]


def _time(name: str, comparison: Comparison) -> Measure:
    level = comparison.control if comparison.control > 0 else 1.0
    return Measure(f"mean {name}", "decrease", SLOWER * level, "ms")


def _together(measures: list[dict[str, Any]], srm: Srm) -> dict[str, Any]:
    """The worst of the findings decides."""
    if srm.is_invalid:
        return {"finding": Finding.INVALID.value, "sentence": mismatch(srm)}
    findings = [Finding(measure["finding"]) for measure in measures]
    for finding, sentence in (
        (Finding.WORSE, "The candidate does not work as well as stable"),
        (Finding.KEEP_GOING, "It is not decided yet whether the candidate works"),
        (Finding.NOT_KNOWN, "Not everything is known yet"),
    ):
        if finding in findings:
            named = [m["measure"] for m in measures if m["finding"] == finding.value]
            return {"finding": finding.value, "sentence": f"{sentence}: see {', '.join(named)}."}
    better = Finding.BETTER in findings
    return {
        "finding": (Finding.BETTER if better else Finding.NO_DIFFERENCE).value,
        "sentence": "The candidate works"
        + (" and is better in " if better else " as well as stable")
        + ", ".join(m["measure"] for m in measures if m["finding"] == Finding.BETTER.value)
        + ".",
    }


def _slices(
    found: Experiment, met: units.UnitExposureSums, by: Ints | Texts
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The share of failures in slices, for diagnosis: all intervals hold together.

    Args:
        by: [n], the slice of each row.
    """
    names = np.unique(by)
    for name in names:
        compared, sure = _failures(found, met.only(by == name), bonferroni(ALPHA, len(names)))
        yield name.item(), to_json.compared(compared, sure)


def _failures(
    found: Experiment, met: units.UnitExposureSums, alpha: float = ALPHA
) -> tuple[Comparison, Interval]:
    """The shares of failures in both arms, and where their difference lies."""
    exposures, failed = met.exposures.astype(np.float64), met.errors.astype(np.float64)
    compared = compare(unit_sums(found, met, exposures, failed))
    by_epoch = unit_sums(found, met, exposures, failed, stratum=met.epoch)
    return compared, event_interval(compared, by_epoch, alpha)


def _quantiles(
    store: Store, found: Experiment, period: Period, kind: Literal["latency", "model"]
) -> dict[str, Any]:
    """Of the answers that the split assigned, in the hours of the epochs in which both versions
    were: stable's of an hour count as many as the candidate's. Descriptive; not known by region."""
    versions = (found.control, found.treatment)
    if period.countries is not None:
        return dict.fromkeys(versions)
    histograms = [
        one
        for one in store.latencies(
            period.scope(found.numbers), kind, by=("epoch", "assigned", "reason"), slot_ms=HOUR_MS
        )
        if one.reason == Reason.SPLIT and one.assigned in versions
    ]
    hours = {key: n for n, key in enumerate(sorted({(h.epoch, h.at_ms) for h in histograms}))}
    slowest = max((int(one.buckets.max()) for one in histograms), default=0)
    counts = np.zeros((len(hours), 2, slowest + 1))
    for one in histograms:
        arm = versions.index(one.assigned or "")
        counts[hours[one.epoch, one.at_ms], arm, one.buckets] = one.counts
    both, weights = weighed(counts)
    buckets = (weights[:, :, None] * counts[both]).sum(axis=0)
    return {
        version: {
            f"p{100 * q:g}": quantile(dict(enumerate(buckets[arm].tolist())), q) for q in QUANTILES
        }
        for arm, version in enumerate(versions)
    }


def _classes(found: Experiment, answers: LabelMix, each: float, labels: Labels) -> dict[str, Any]:
    """What each version answers itself, and whether that differs on the labels that both know.

    Args:
        each: Images of a unit, which resemble one another.
    """
    versions = (found.control, found.treatment)
    mixes = [answers.mix(arm) for arm in (0, 1)]
    shared = sorted(set(labels(found.control)) & set(labels(found.treatment)))
    known = np.isin(answers.labels, shared)
    before, now = (mix[known] * answers.effective(arm) for arm, mix in enumerate(mixes))
    return {
        "counts": {version: answers.told(arm) for arm, version in enumerate(versions)},
        "shares": {
            version: dict(zip(answers.labels, (mix / (mix.sum() or 1)).tolist(), strict=True))
            for version, mix in zip(versions, mixes, strict=True)
        },
        "shared": shared,
        **to_json.moved(drift(before, now, each)),
    }


def _reasons(sums: list[ExposureSum]) -> list[dict[str, Any]]:
    """All exposures, the tagged and the pinned in rows of their own: only `split` is compared."""
    rows: dict[tuple[str, str], list[int]] = {}
    for one in sums:
        row = rows.setdefault((one.assigned or "", one.reason or ""), [0, 0, 0])
        for column, count in enumerate((one.exposures, one.errors, one.fallbacks)):
            row[column] += count
    return [
        {
            "version": version or None,
            "reason": reason,
            "exposures": exposures,
            "errors": errors,
            "fallbacks": fallbacks,
        }
        for (version, reason), (exposures, errors, fallbacks) in sorted(rows.items())
    ]


def _series(store: Store, found: Experiment, period: Period) -> dict[str, Any]:
    """The exposures of the split over time, by version."""
    slot_ms = period.slot_ms(found.epochs[0].started_at_ms)
    scope = period.scope(found.numbers)
    return {
        "slot_ms": slot_ms,
        "points": [
            {
                "at_ms": one.at_ms,
                "version": one.assigned or None,
                "exposures": one.exposures,
                "errors": one.errors,
            }
            for one in store.exposure_sums(scope, by=("assigned", "reason"), slot_ms=slot_ms)
            if one.reason == Reason.SPLIT
        ],
    }
