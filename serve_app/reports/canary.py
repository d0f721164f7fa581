"""The canary report: whether the candidate works, compared as assigned."""

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
from serve_app.evidence.units import Floats, Ints, Texts, UnitSums, strata
from serve_app.evidence.verdict import Finding, Measure, srm_sentence
from serve_app.reports import experiment, to_json
from serve_app.reports.experiment import Experiment, VersionLabels
from serve_app.reports.label_mix import LabelMix, hour_weights
from serve_app.reports.period import Period
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.store import Store
from serve_app.store.units import UnitExposureSums

KINDS = ("canary_rolling", "canary_parallel")
ERROR_RATE = Measure("error rate", "decrease", 0.01)
MIN_SLOWDOWN = 0.10  # min_effect of latencies, as a share of stable's mean
QUANTILES = (0.5, 0.95, 0.99)


def report(store: Store, period: Period, labels: VersionLabels, name: str | None) -> dict[str, Any]:
    """The candidate compared with stable on the same days.

    The measures are by unit and cover whole UTC days.

    Args:
        labels: The labels that a version knows.
        name: The experiment; None for the newest canary.

    Raises:
        NothingToReport: No canary was in force in the period.
    """
    canary = experiment.find_experiment(store, KINDS, period, name)
    scope = period.scope(canary.epoch_numbers)
    days = period.whole_days
    unit_sums = store.unit_sums(canary.name, days.scope(canary.epoch_numbers))
    counts_by_region = experiment.srm_counts(store, canary, period)
    srm = check(experiment.sum_regions(counts_by_region))
    keys = ("epoch", "assigned", "served_as_assigned", "reason", "label")
    sums = store.exposure_sums(scope, by=keys, slot_ms=HOUR_MS)
    mix = LabelMix.from_sums(canary, sums)
    measures = _measures(canary, unit_sums, srm)
    cluster_size = images_per_unit(unit_sums.unit, unit_sums.exposures.astype(np.float64))
    return {
        "report": "canary",
        "period": period.content(),
        **canary.content(),
        "covers_experiment": experiment.covers_experiment(store, canary, period),
        **_verdict(measures, srm),
        "srm": to_json.srm(srm),
        "measured_period": {
            "since_ms": max(days.since_ms, canary.epochs[0].started_at_ms // DAY_MS * DAY_MS),
            "until_ms": days.until_ms,
        },
        "measures": measures,
        "regions": [
            {"region": region or None, **comparison}
            for region, comparison in _slices(canary, unit_sums, unit_sums.region.texts())
        ],
        "by_epoch": [
            {"epoch": epoch, "weight": canary.weights[epoch], **comparison}
            for epoch, comparison in _slices(canary, unit_sums, unit_sums.epoch)
        ],
        "latency_ms": _quantiles(store, canary, period, "latency"),
        "model_ms": _quantiles(store, canary, period, "model"),
        "classes": _classes(canary, mix, cluster_size, labels),
        "confidence": {
            version: to_json.number(mix.mean_confidence(arm))
            for arm, version in enumerate((canary.control, canary.treatment))
        },
        "reasons": _reasons(sums),
        "series": _series(store, canary, period),
    }


def _arm_sums(
    canary: Experiment,
    unit_sums: UnitExposureSums,
    x: Floats,
    y: Floats,
    stratum: Ints | None = None,
) -> UnitSums:
    """The rows that were assigned one of the two versions, as input of `compare`.

    Args:
        x, y: [n], denominator and numerator of the ratio that is compared.
        stratum: [n]; by default strata of days within epochs.
    """
    treated = unit_sums.assigned.equals(canary.treatment)
    in_canary = treated | unit_sums.assigned.equals(canary.control)
    if stratum is None:
        stratum = strata(unit_sums.epoch, unit_sums.day, treated)
    return UnitSums(
        unit_sums.unit[in_canary],
        stratum[in_canary],
        treated[in_canary],
        x[in_canary],
        y[in_canary],
    )


def _measures(canary: Experiment, unit_sums: UnitExposureSums, srm: Srm) -> list[dict[str, Any]]:
    exposures = unit_sums.exposures.astype(np.float64)
    model_count = unit_sums.model_ms_count.astype(np.float64)
    errors, errors_interval = _compare_error_rates(canary, unit_sums)
    latency = compare(_arm_sums(canary, unit_sums, exposures, unit_sums.latency_ms_sum))
    model = compare(_arm_sums(canary, unit_sums, model_count, unit_sums.model_ms_sum))
    return [
        to_json.measure(ERROR_RATE, errors, srm, errors_interval),
        to_json.measure(_latency_measure("latency", latency), latency, srm),
        to_json.measure(_latency_measure("model time", model), model, srm),
    ]


def _latency_measure(name: str, comparison: Comparison) -> Measure:
    level_ms = comparison.control if comparison.control > 0 else 1.0
    return Measure(f"mean {name}", "decrease", MIN_SLOWDOWN * level_ms, "ms")


def _verdict(measures: list[dict[str, Any]], srm: Srm) -> dict[str, Any]:
    """The worst finding of the measures."""
    if srm.is_invalid:
        return {"finding": Finding.INVALID.value, "sentence": srm_sentence(srm)}
    names: dict[str, list[str]] = {}
    for measure in measures:
        names.setdefault(measure["finding"], []).append(measure["measure"])
    for finding, sentence in (
        (Finding.WORSE, "The candidate is worse than stable"),
        (Finding.KEEP_GOING, "Not decided yet whether the candidate works as well as stable"),
        (Finding.NOT_KNOWN, "Not enough data for every measure"),
    ):
        if finding.value in names:
            return {
                "finding": finding.value,
                "sentence": f"{sentence}: see {', '.join(names[finding.value])}.",
            }
    if better := names.get(Finding.BETTER.value):
        return {
            "finding": Finding.BETTER.value,
            "sentence": f"The candidate works and is better in {', '.join(better)}.",
        }
    return {
        "finding": Finding.NO_DIFFERENCE.value,
        "sentence": "The candidate works as well as stable.",
    }


def _slices(
    canary: Experiment, unit_sums: UnitExposureSums, by: Ints | Texts
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The error rate in slices, for diagnosis. The intervals are simultaneous.

    Args:
        by: [n], the slice of each row.
    """
    names = np.unique(by)
    for name in names:
        comparison, interval = _compare_error_rates(
            canary, unit_sums.select(by == name), bonferroni(ALPHA, len(names))
        )
        yield name.item(), to_json.comparison(comparison, interval)


def _compare_error_rates(
    canary: Experiment, unit_sums: UnitExposureSums, alpha: float = ALPHA
) -> tuple[Comparison, Interval]:
    """The error rates of both arms, and the interval of their difference."""
    exposures = unit_sums.exposures.astype(np.float64)
    errors = unit_sums.errors.astype(np.float64)
    comparison = compare(_arm_sums(canary, unit_sums, exposures, errors))
    by_epoch = _arm_sums(canary, unit_sums, exposures, errors, stratum=unit_sums.epoch)
    return comparison, event_interval(comparison, by_epoch, alpha)


def _quantiles(
    store: Store, canary: Experiment, period: Period, kind: Literal["latency", "model"]
) -> dict[str, Any]:
    """Version -> latency quantiles in ms, for exposures with the reason `split`.

    Hours of an epoch in which both versions served are balanced as in `LabelMix`. Descriptive; None
    for a region, because the store has no latencies by region.
    """
    versions = (canary.control, canary.treatment)
    if period.countries is not None:
        return dict.fromkeys(versions)
    histograms = [
        histogram
        for histogram in store.latency_histograms(
            period.scope(canary.epoch_numbers),
            kind,
            by=("epoch", "assigned", "reason"),
            slot_ms=HOUR_MS,
        )
        if histogram.reason == Reason.SPLIT and histogram.assigned in versions
    ]
    hours = {key: n for n, key in enumerate(sorted({(h.epoch, h.at_ms) for h in histograms}))}
    last_bucket = max((int(h.buckets.max()) for h in histograms), default=0)
    counts = np.zeros((len(hours), 2, last_bucket + 1))
    for histogram in histograms:
        hour = hours[histogram.epoch, histogram.at_ms]
        arm = versions.index(histogram.assigned or "")
        counts[hour, arm, histogram.buckets] = histogram.counts
    has_both, weights = hour_weights(counts)
    buckets = (weights[:, :, None] * counts[has_both]).sum(axis=0)
    return {
        version: {
            f"p{100 * q:g}": quantile(dict(enumerate(buckets[arm].tolist())), q) for q in QUANTILES
        }
        for arm, version in enumerate(versions)
    }


def _classes(
    canary: Experiment, mix: LabelMix, cluster_size: float, labels: VersionLabels
) -> dict[str, Any]:
    """The labels that each version predicts, and the drift between them on shared labels.

    Args:
        cluster_size: Images per unit; the images of a unit are correlated.
    """
    versions = (canary.control, canary.treatment)
    weighted = [mix.weighted_counts(arm) for arm in (0, 1)]
    shared = sorted(set(labels(canary.control)) & set(labels(canary.treatment)))
    is_shared = np.isin(mix.labels, shared)
    control, treatment = (
        counts[is_shared] * mix.effective_size(arm) for arm, counts in enumerate(weighted)
    )
    return {
        "counts": {version: mix.label_counts(arm) for arm, version in enumerate(versions)},
        "shares": {
            version: dict(zip(mix.labels, (counts / (counts.sum() or 1)).tolist(), strict=True))
            for version, counts in zip(versions, weighted, strict=True)
        },
        "shared": shared,
        **to_json.drift(drift(control, treatment, cluster_size)),
    }


def _reasons(sums: list[ExposureSum]) -> list[dict[str, Any]]:
    """Exposures by version and reason. Only the reason `split` is compared."""
    rows: dict[tuple[str, str], list[int]] = {}
    for row in sums:
        totals = rows.setdefault((row.assigned or "", row.reason or ""), [0, 0, 0])
        for column, count in enumerate((row.exposures, row.errors, row.fallbacks)):
            totals[column] += count
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


def _series(store: Store, canary: Experiment, period: Period) -> dict[str, Any]:
    """Exposures with the reason `split` over time, by version."""
    slot_ms = period.slot_ms(canary.epochs[0].started_at_ms)
    scope = period.scope(canary.epoch_numbers)
    return {
        "slot_ms": slot_ms,
        "points": [
            {
                "at_ms": row.at_ms,
                "version": row.assigned or None,
                "exposures": row.exposures,
                "errors": row.errors,
            }
            for row in store.exposure_sums(scope, by=("assigned", "reason"), slot_ms=slot_ms)
            if row.reason == Reason.SPLIT
        ],
    }
