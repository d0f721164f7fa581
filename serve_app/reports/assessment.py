"""The reports by name."""

from __future__ import annotations

from collections.abc import Callable

from serve_app.reports import ab_test, canary, shadow
from serve_app.reports.ab_test import ABTestAssessment
from serve_app.reports.canary import CanaryAssessment
from serve_app.reports.experiment import Experiment, VersionLabels
from serve_app.reports.period import Period
from serve_app.reports.shadow import ShadowAssessment
from serve_app.reports.traffic import TrafficAssessment
from serve_app.store.store import Store

ExperimentAssessment = CanaryAssessment | ABTestAssessment | ShadowAssessment
Assessment = TrafficAssessment | ExperimentAssessment

Assess = Callable[[Store, Period, VersionLabels, Experiment], ExperimentAssessment]

# Report -> how it assesses an experiment; `serve_app.rules` says which kinds have which report.
EXPERIMENT_REPORTS: dict[str, Assess] = {
    "canary": canary.assess,
    "ab": ab_test.assess,
    "shadow": shadow.assess,
}
