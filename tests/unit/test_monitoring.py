"""The queries of the dashboard and the alerts use only exported series and labels.

`tests/integration` tests the alerts in Prometheus; `tests/e2e` tests the queries on a service.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from serve_app.domain import CopyOutcome, Reason
from serve_app.lifecycle.welcome import PROMETHEUS_TARGETS
from tests import queries
from tests.unit.serving import fake_metrics

with warnings.catch_warnings():  # deprecated pydantic features in Serve's modules
    warnings.simplefilter("ignore")
    from serve_app.serving import telemetry
    from serve_app.serving.telemetry import CANDIDATE_STATES, RECORD_STATES, Telemetry

SUFFIXES = {
    fake_metrics.Counter: ("_total",),
    fake_metrics.Gauge: ("",),
    fake_metrics.Histogram: ("_bucket", "_count", "_sum"),
}
SERVE_LABELS = {"application", "deployment", "replica"}  # Serve adds them in a replica
PROMETHEUS_LABELS = {"instance", "job"}
# Series of Serve 2.60, with the labels besides `SERVE_LABELS`.
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
FUNCTIONS = {
    "absent", "count", "histogram_quantile", "increase", "label_replace", "max", "min", "rate",
    "sum", "vector",
}  # fmt: skip
KEYWORDS = {"and", "or", "unless", "offset", "by", "on", "group_left"}

QUERIES = [
    *queries.panel_queries(),
    *queries.annotation_queries(),
    *((rule.get("alert") or rule["record"], rule["expr"]) for rule in queries.rules()),
]
ALERTS = [rule for rule in queries.rules() if "alert" in rule]

STRING = r'"[^"]*"'
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL_LIST = re.compile(r"\b(?:by|on|group_left) \(([^)]*)\)")
SELECTOR = re.compile(rf"({NAME})\{{([^}}]*)\}}")
MATCHER = re.compile(rf'({NAME})(=~|!=|!~|=)"([^"]*)"')
# The arguments of label_replace; captures the target and the source label.
LABEL_REPLACE = re.compile(rf'"({NAME})", "[^"]*", "({NAME}|)", "[^"]*"\)')


@cache
def app_series() -> dict[str, set[str]]:
    """The series of `Telemetry` as Prometheus names them, with their labels."""
    metrics = fake_metrics.FakeMetrics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telemetry, "metrics", metrics)
        Telemetry(None)  # type: ignore[arg-type]
    return {
        f"ray_{name}{suffix}": set(metric.tag_keys)
        | SERVE_LABELS
        | ({"le"} if suffix == "_bucket" else set())
        for name, metric in metrics.created.items()
        for suffix in SUFFIXES[type(metric)]
    }


@cache
def exported_series() -> dict[str, set[str]]:
    """All exported and recorded series, with their labels."""
    series = app_series() | {name: labels | SERVE_LABELS for name, labels in RAY_SERIES.items()}
    series = {name: labels | PROMETHEUS_LABELS for name, labels in series.items()}
    for rule in queries.rules():
        if "record" in rule:
            lists = LABEL_LIST.findall(rule["expr"])
            recorded = {label for labels in lists for label in _split(labels)}
            series[rule["record"]] = recorded - {"le"}
    return series


def parse_series(expr: str) -> set[str]:
    """The names of the series in a query."""
    names = LABEL_LIST.sub(" ", re.sub(STRING, "", SELECTOR.sub(r"\1", expr)))
    names = re.sub(r"\[[$\w]+\]|\boffset \w+", "", names)
    return set(re.findall(NAME, names)) - FUNCTIONS - KEYWORDS


def result_labels(expr: str) -> set[str]:
    """The labels that the results of a query can have."""
    listed = {label for labels in LABEL_LIST.findall(expr) for label in _split(labels)}
    replaced = {target for target, _ in LABEL_REPLACE.findall(expr)}
    if re.search(r"\b(sum|max|min|count)\b", expr):
        return listed | replaced
    return replaced.union(*(exported_series()[name] for name in parse_series(expr)))


def _split(labels: str) -> Iterator[str]:
    return (label.strip() for label in labels.split(",") if label.strip())


def test_prometheus_loads_the_alerts_and_rays_discovery_file() -> None:
    config = yaml.safe_load((queries.FOLDER / "prometheus.yml").read_text())
    assert config["rule_files"] == [queries.ALERTS.name]
    (job,) = config["scrape_configs"]
    (discovery,) = job["file_sd_configs"]
    assert discovery["files"] == [str(PROMETHEUS_TARGETS)]


@pytest.mark.parametrize(("source", "expr"), QUERIES)
def test_queries_use_only_exported_series(source: str, expr: str) -> None:
    assert parse_series(expr)
    assert parse_series(expr) <= exported_series().keys()


@pytest.mark.parametrize(("source", "expr"), QUERIES)
def test_queries_use_only_existing_labels_and_values(source: str, expr: str) -> None:
    for name, selector in SELECTOR.findall(expr):
        matchers = MATCHER.findall(selector)
        assert ", ".join(f'{label}{sign}"{value}"' for label, sign, value in matchers) == selector
        for label, _, value in matchers:
            assert label in exported_series()[name], f"{name} has no {label}"
            if label in LABEL_VALUES and value:
                assert set(value.split("|")) <= LABEL_VALUES[label]
    known_labels = set().union(*(exported_series()[name] for name in parse_series(expr)))
    replaced = LABEL_REPLACE.findall(expr)
    assert expr.count("label_replace(") == len(replaced)
    known_labels |= {target for target, _ in replaced}
    assert {source for _, source in replaced if source} <= known_labels
    assert {
        label for labels in LABEL_LIST.findall(expr) for label in _split(labels)
    } <= known_labels


@pytest.mark.parametrize(
    "expr",
    [
        "sum(rate(ray_serve_app_request_total[1m]))",
        "rate(ray_serve_app_requests[1m])",
        "mean(ray_serve_app_rule)",
    ],
)
def test_unknown_series_are_detected(expr: str) -> None:
    """The check itself can fail."""
    assert not parse_series(expr) <= exported_series().keys()


def test_the_dashboard_shows_every_metric_of_the_app() -> None:
    recorded = {rule["record"]: rule["expr"] for rule in queries.rules() if "record" in rule}
    shown = set().union(*(parse_series(expr) for _, expr in queries.panel_queries()))
    for name, expr in reversed(recorded.items()):
        if name in shown:
            shown |= parse_series(expr)
    names = {re.sub("_(bucket|count|sum)$", "", name) for name in app_series()}
    assert names == {re.sub("_bucket$", "", name) for name in shown if name in app_series()}


def test_every_recording_rule_is_used() -> None:
    used = set().union(*(parse_series(expr) for _, expr in QUERIES))
    assert {rule["record"] for rule in queries.rules() if "record" in rule} <= used


def test_the_readme_lists_every_metric_of_the_app_with_its_labels() -> None:
    text = (queries.FOLDER / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(ray_\w+)` \| (.*?) \|", text, re.MULTILINE))
    listed = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows.items()}
    assert listed == {
        re.sub("_bucket$", "", name): labels - SERVE_LABELS - {"le"}
        for name, labels in app_series().items()
        if not name.endswith(("_count", "_sum"))
    }


@pytest.mark.parametrize("name", RAY_SERIES)
def test_the_installed_serve_defines_the_series(name: str) -> None:
    serve = Path(ray.__file__).parent / "serve"
    sources = "".join(path.read_text() for path in serve.glob("*.py"))
    sources += "".join(path.read_text() for path in (serve / "_private").glob("*.py"))
    base = name.removeprefix("ray_").removesuffix("_total")
    kind = "Counter" if name.endswith("_total") else "Gauge"
    assert re.search(rf'metrics\.{kind}\(\s*"{base}",', sources)
    for label in RAY_SERIES[name]:
        assert re.search(rf'"{base}",[^)]*tag_keys=\([^)]*"{label}"', sources)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alerts_have_a_severity_a_summary_and_a_description(alert: dict[str, Any]) -> None:
    assert alert["alert"].startswith("ServeApp")
    assert alert["labels"]["severity"] in ("critical", "warning")
    summary, description = alert["annotations"]["summary"], alert["annotations"]["description"]
    assert 0 < len(summary) < 140
    assert len(description) > 60
    named = set(re.findall(r"\$labels\.(\w+)", summary + description))
    assert named <= result_labels(alert["expr"])


def test_alert_names_are_unique() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(names) == len(set(names))


class TestDashboard:
    def test_every_query_uses_the_data_source_variable(self) -> None:
        dashboard = queries.dashboard()
        assert dashboard["id"] is None
        (variable,) = dashboard["templating"]["list"]
        assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
        entries = [*queries.panels(), *dashboard["annotations"]["list"]]
        entries += [target for panel in queries.panels() for target in panel["targets"]]
        for entry in entries:
            assert entry["datasource"] == {"type": "prometheus", "uid": f"${{{variable['name']}}}"}

    def test_panels_have_unique_ids_and_do_not_overlap(self) -> None:
        panels = queries.dashboard()["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken = set()
        for panel in panels:
            assert panel["title"]
            grid = panel["gridPos"]
            for x in range(grid["x"], grid["x"] + grid["w"]):
                assert 0 <= x < 24
                for y in range(grid["y"], grid["y"] + grid["h"]):
                    assert (x, y) not in taken
                    taken.add((x, y))

    @pytest.mark.parametrize("panel", queries.panels(), ids=lambda panel: panel["title"])
    def test_legends_use_labels_of_the_results(self, panel: dict[str, Any]) -> None:
        for target in panel["targets"]:
            named = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            assert set(named) <= result_labels(target["expr"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
