"""The traffic report: exposures by rule, version and reason, with SRM checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serve_app.domain import Reason
from serve_app.evidence import srm
from serve_app.reports import experiment, to_json
from serve_app.reports.experiment import Experiment
from serve_app.reports.period import Period
from serve_app.store.epochs import Epoch
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.store import Store


def report(store: Store, period: Period) -> dict[str, Any]:
    """The traffic of a period."""
    epochs = store.epochs_between(period.since_ms, period.until_ms)
    groups = store.exposure_sums(period.scope(), by=("epoch", "assigned", "reason"))
    recording = store.recording()
    return {
        "report": "traffic",
        "period": period.content(),
        **_counts(groups),
        "series": _series(store, period, epochs),
        "epochs": [
            _epoch(epoch, [g for g in groups if g.epoch == epoch.number]) for epoch in epochs
        ],
        "without_epoch": sum(g.exposures for g in groups if not g.epoch),
        "experiments": [
            _experiment(store, period, split) for split in experiment.experiments(store, period)
        ],
        "regions": [
            {"region": row.region or None, **_counts([row])}
            for row in store.exposure_sums(period.scope(), by=("region",))
        ],
        "recording": {
            "stored": recording.stored,
            "dropped": recording.dropped,
            "missing": recording.missing,
            "without_epoch": recording.without_epoch,
        },
    }


def _series(store: Store, period: Period, epochs: list[Epoch]) -> dict[str, Any]:
    slot_ms = period.slot_ms(epochs[0].started_at_ms if epochs else None)
    return {
        "slot_ms": slot_ms,
        "points": [
            {"at_ms": row.at_ms, **_counts([row])}
            for row in store.exposure_sums(period.scope(), slot_ms=slot_ms)
        ],
    }


def _epoch(epoch: Epoch, groups: list[ExposureSum]) -> dict[str, Any]:
    rule = experiment.epoch_rule(epoch)
    total = sum(group.exposures for group in groups)
    candidate = list(rule.versions.values())[-1]
    split = [group for group in groups if group.reason == Reason.SPLIT]
    split_total = sum(group.exposures for group in split)
    split_candidate = sum(group.exposures for group in split if group.assigned == candidate)
    return {
        "epoch": epoch.number,
        "rule_id": epoch.rule_id,
        "kind": epoch.kind,
        "experiment": epoch.experiment,
        "from_ms": epoch.started_at_ms,
        "to_ms": epoch.ended_at_ms,
        "planned_share": rule.share if epoch.experiment else None,
        "actual_share": split_candidate / split_total if split_total else None,  # of exposures
        "exposures": total,
        "groups": [
            {
                "version": group.assigned or None,
                "reason": group.reason,
                "share": group.exposures / total,
                **_counts([group]),
                "mean_latency_ms": group.latency_ms_sum / group.exposures,
            }
            for group in groups
        ],
    }


def _experiment(store: Store, period: Period, split: Experiment) -> dict[str, Any]:
    counts_by_region = experiment.srm_counts(store, split, period)
    return {
        **split.content(),
        "covers_experiment": experiment.covers_experiment(store, split, period),
        "srm": to_json.srm(srm.check(experiment.sum_regions(counts_by_region))),
        "srm_by_region": {
            region: to_json.srm(result)
            for region, result in srm.check_slices(counts_by_region).items()
        },
    }


def _counts(sums: Iterable[ExposureSum]) -> dict[str, int]:
    """Totals of exposures, errors and fallbacks."""
    groups = list(sums)
    return {
        "exposures": sum(group.exposures for group in groups),
        "errors": sum(group.errors for group in groups),
        "fallbacks": sum(group.fallbacks for group in groups),
    }
