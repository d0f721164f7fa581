"""Who was answered by what: planned and actual shares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serve_app.domain import Reason
from serve_app.evidence import srm
from serve_app.reports import experiment, to_json
from serve_app.reports.period import Period
from serve_app.store.epochs import Epoch
from serve_app.store.exposure_sums import ExposureSum
from serve_app.store.store import Store


def report(store: Store, period: Period) -> dict[str, Any]:
    """The traffic of a period, by rule, version and reason, and the splits checked for SRM."""
    epochs = store.epochs_within(period.since_ms, period.until_ms)
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
            _experiment(store, period, found) for found in experiment.experiments(store, period)
        ],
        "regions": [
            {"region": one.region or None, **_counts([one])}
            for one in store.exposure_sums(period.scope(), by=("region",))
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
            {"at_ms": one.at_ms, **_counts([one])}
            for one in store.exposure_sums(period.scope(), slot_ms=slot_ms)
        ],
    }


def _epoch(epoch: Epoch, groups: list[ExposureSum]) -> dict[str, Any]:
    rule = experiment.rule_of(epoch)
    total = sum(group.exposures for group in groups)
    candidate = list(rule.versions.values())[-1]
    split = [group for group in groups if group.reason == Reason.SPLIT]
    drawn = sum(group.exposures for group in split)
    given = sum(group.exposures for group in split if group.assigned == candidate)
    return {
        "epoch": epoch.number,
        "rule_id": epoch.rule_id,
        "kind": epoch.kind,
        "experiment": epoch.experiment,
        "from_ms": epoch.started_at_ms,
        "to_ms": epoch.ended_at_ms,
        "planned_share": rule.share if epoch.experiment else None,
        "actual_share": given / drawn if drawn else None,  # of exposures, not of units
        "exposures": total,
        "groups": [
            {
                "version": group.assigned or None,
                "reason": group.reason,
                "share": group.exposures / total,
                **_counts([group]),
                "mean_latency_ms": group.latency_sum / group.exposures,
            }
            for group in groups
        ],
    }


def _experiment(store: Store, period: Period, found: experiment.Experiment) -> dict[str, Any]:
    slices = experiment.srm_counts(store, found, period)
    checked = srm.check(experiment.together(slices))
    return {
        **found.content(),
        "whole": experiment.is_whole(store, found, period),
        "srm": to_json.mismatch(checked),
        "srm_by_region": {
            region: to_json.mismatch(one) for region, one in srm.check_slices(slices).items()
        },
    }


def _counts(sums: Iterable[ExposureSum]) -> dict[str, int]:
    """Exposures, and what went wrong with them."""
    groups = list(sums)
    return {
        "exposures": sum(group.exposures for group in groups),
        "errors": sum(group.errors for group in groups),
        "fallbacks": sum(group.fallbacks for group in groups),
    }
