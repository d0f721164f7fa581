"""The queries of the dashboard and the alerts use only exported series and labels.

`tests/integration` tests the alerts in Prometheus; `tests/e2e` tests the queries on a service.
"""

from __future__ import annotations

import re
import warnings
from functools import cache

import pytest
import yaml

from serve_app.lifecycle.welcome import PROMETHEUS_TARGETS
from serve_app.recording.records import CopyOutcome
from serve_app.rules.plan import Reason
from tests import queries
from tests.unit.serving import fake_metrics

with warnings.catch_warnings():  # deprecated pydantic features in Serve's modules
    warnings.simplefilter("ignore")
    from serve_app.serving import store_metrics, telemetry
    from serve_app.serving.store_metrics import StoreMetrics
    from serve_app.serving.telemetry import CANDIDATE_STATES, RECORD_STATES, Telemetry

SUFFIXES = {
    fake_metrics.Counter: ("_total",),
    fake_metrics.Gauge: ("",),
    fake_metrics.Histogram: ("_bucket", "_count", "_sum"),
}
ADDED_LABELS = {"application", "deployment", "replica", "instance"}  # by Serve and Prometheus
# Series of Serve 2.60, with the labels besides `ADDED_LABELS`.
RAY_SERIES = {
    "ray_serve_deployment_replica_healthy": set[str](),
    "ray_serve_registered_multiplexed_model_id": {"model_id"},
    "ray_serve_multiplexed_models_load_counter_total": set[str](),
    "ray_serve_multiplexed_models_unload_counter_total": set[str](),
    "ray_serve_replica_processing_queries": set[str](),
}
LABEL_VALUES = {
    "reason": {reason.value for reason in Reason},
    "outcome": {outcome.value for outcome in CopyOutcome},
    "state": {*RECORD_STATES, *CANDIDATE_STATES},
    "application": {"animals", "control"},
    "deployment": {"Ingress", "StablePool", "CandidatePool", "Controller", "ControlApi"},
}
QUERIES = [
    *queries.panel_queries(),
    *queries.annotation_queries(),
    *((rule.get("alert") or rule["record"], rule["expr"]) for rule in queries.rules()),
]
SERIES = re.compile(r"\b(?:ray_\w+|\w+:[\w:]+)")  # the names of recorded series have a colon
SELECTOR = re.compile(r"([\w:]+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)(?:=~|!=|!~|=)"([^"]*)"')
LABEL_LIST = re.compile(r"\b(?:by|on|group_left) \(([^)]*)\)")


def listed_labels(expr: str) -> set[str]:
    """The labels in the lists of a query, such as `by (version)`."""
    return {label for labels in LABEL_LIST.findall(expr) for label in re.findall(r"\w+", labels)}


@cache
def app_series() -> dict[str, set[str]]:
    """The series of the program as Prometheus names them, with their labels."""
    metrics = fake_metrics.FakeMetrics()
    with pytest.MonkeyPatch.context() as patch:
        for module in (telemetry, store_metrics):
            patch.setattr(module, "metrics", metrics)
        Telemetry(None)  # type: ignore[arg-type]
        StoreMetrics(max_bytes=1)
    return {
        f"ray_{name}{suffix}": set(metric.tag_keys) | ({"le"} if suffix == "_bucket" else set())
        for name, metric in metrics.created.items()
        for suffix in SUFFIXES[type(metric)]
    }


@cache
def exported_series() -> dict[str, set[str]]:
    """All exported and recorded series, with their labels."""
    exported = app_series() | RAY_SERIES
    series = {name: labels | ADDED_LABELS for name, labels in exported.items()}
    recorded = {r["record"]: listed_labels(r["expr"]) for r in queries.rules() if "record" in r}
    return series | recorded


@pytest.mark.parametrize(("source", "expr"), QUERIES)
def test_queries_use_only_exported_series_and_labels(source: str, expr: str) -> None:
    series = {name: exported_series()[name] for name in SERIES.findall(expr)}
    assert series
    assert listed_labels(expr) <= set().union(*series.values())
    for name, selector in SELECTOR.findall(expr):
        for label, value in MATCHER.findall(selector):
            assert label in series[name], f"{name} has no {label}"
            if label in LABEL_VALUES and value:
                assert set(value.split("|")) <= LABEL_VALUES[label]


def test_prometheus_loads_the_alerts_and_rays_discovery_file() -> None:
    config = yaml.safe_load((queries.FOLDER / "prometheus.yml").read_text())
    assert config["rule_files"] == [queries.ALERTS.name]
    (job,) = config["scrape_configs"]
    (discovery,) = job["file_sd_configs"]
    assert discovery["files"] == [str(PROMETHEUS_TARGETS)]


def test_the_readme_lists_every_metric_of_the_app_with_its_labels() -> None:
    text = (queries.FOLDER / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(ray_\w+)` \| (.*?) \|", text, re.MULTILINE))
    listed = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows.items()}
    assert listed == {
        name.removesuffix("_bucket"): labels - {"le"}
        for name, labels in app_series().items()
        if not name.endswith(("_count", "_sum"))
    }
