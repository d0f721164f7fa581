"""The board and the alerts ask only for what is exported, and every label that they use is there.

Whether Prometheus understands them is tested in `tests/integration`, whether a running service
answers them in `tests/e2e`.
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
from serve_app.lifecycle.welcome import TARGETS
from tests import queries
from tests.unit.serving import meters

with warnings.catch_warnings():  # Serve's modules use what pydantic will take away
    warnings.simplefilter("ignore")
    from serve_app.serving import telemetry
    from serve_app.serving.telemetry import CANDIDATE_STATES, STATES, Telemetry

SUFFIXES = {
    meters.Counter: ("_total",),
    meters.Gauge: ("",),
    meters.Histogram: ("_bucket", "_count", "_sum"),
}
BY_SERVE = {"application", "deployment", "replica"}  # Serve adds them in a replica
BY_PROMETHEUS = {"instance", "job"}
# Of Serve 2.60: name, and labels besides these three.
OF_RAY = {
    "ray_serve_deployment_replica_healthy": set[str](),
    "ray_serve_registered_multiplexed_model_id": {"model_id"},
    "ray_serve_multiplexed_models_load_counter_total": set[str](),
    "ray_serve_multiplexed_models_unload_counter_total": set[str](),
    "ray_serve_replica_processing_queries": set[str](),
}
VALUES = {
    "reason": {reason.value for reason in Reason},
    "outcome": {outcome.value for outcome in CopyOutcome},
    "state": {*STATES, *CANDIDATE_STATES},
    "application": {"animals", "control"},
    "deployment": {"Ingress", "StablePool", "CandidatePool", "Controller", "ControlApi"},
}
FUNCTIONS = {
    "absent", "count", "histogram_quantile", "increase", "label_replace", "max", "min", "rate",
    "sum", "vector",
}  # fmt: skip
WORDS = {"and", "or", "unless", "offset", "by", "on", "group_left"}

QUERIES = [
    *queries.of_board(),
    *queries.of_annotations(),
    *((rule.get("alert") or rule["record"], rule["expr"]) for rule in queries.rules()),
]
ALERTS = [rule for rule in queries.rules() if "alert" in rule]

STRING = r'"[^"]*"'
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL_LIST = re.compile(r"\b(?:by|on|group_left) \(([^)]*)\)")
SELECTOR = re.compile(rf"({NAME})\{{([^}}]*)\}}")
MATCHER = re.compile(rf'({NAME})(=~|!=|!~|=)"([^"]*)"')
REPLACED = re.compile(rf'"({NAME})", "[^"]*", "({NAME}|)", "[^"]*"\)')  # of label_replace


@cache
def ours() -> dict[str, set[str]]:
    """What the code defines: the series as Prometheus shows them, with their labels."""
    made = meters.Meters()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telemetry, "metrics", made)
        Telemetry(None)  # type: ignore[arg-type]
    return {
        f"ray_{name}{suffix}": set(meter.tag_keys)
        | BY_SERVE
        | ({"le"} if suffix == "_bucket" else set())
        for name, meter in made.made.items()
        for suffix in SUFFIXES[type(meter)]
    }


@cache
def exported() -> dict[str, set[str]]:
    """Every series that may be asked for, with its labels."""
    found = ours() | {name: labels | BY_SERVE for name, labels in OF_RAY.items()}
    found = {name: labels | BY_PROMETHEUS for name, labels in found.items()}
    for rule in queries.rules():
        if "record" in rule:
            lists = LABEL_LIST.findall(rule["expr"])
            found[rule["record"]] = {label for labels in lists for label in _split(labels)} - {"le"}
    return found


def metrics_of(expr: str) -> set[str]:
    """The series that a query names."""
    bare = LABEL_LIST.sub(" ", re.sub(STRING, "", SELECTOR.sub(r"\1", expr)))
    bare = re.sub(r"\[[$\w]+\]|\boffset \w+", "", bare)
    return set(re.findall(NAME, bare)) - FUNCTIONS - WORDS


def results_of(expr: str) -> set[str]:
    """The labels that its answers may have."""
    listed = {label for labels in LABEL_LIST.findall(expr) for label in _split(labels)}
    replaced = {target for target, _ in REPLACED.findall(expr)}
    if re.search(r"\b(sum|max|min|count)\b", expr):
        return listed | replaced
    return replaced.union(*(exported()[name] for name in metrics_of(expr)))


def _split(labels: str) -> Iterator[str]:
    return (label.strip() for label in labels.split(",") if label.strip())


def test_the_configuration_loads_the_alerts_and_reads_rays_file() -> None:
    config = yaml.safe_load((queries.FOLDER / "prometheus.yml").read_text())
    assert config["rule_files"] == [queries.ALERTS.name]
    (job,) = config["scrape_configs"]
    (discovery,) = job["file_sd_configs"]
    assert discovery["files"] == [str(TARGETS)]


@pytest.mark.parametrize(("where", "expr"), QUERIES)
def test_a_query_names_only_series_that_are_exported(where: str, expr: str) -> None:
    assert metrics_of(expr)
    assert metrics_of(expr) <= exported().keys()


@pytest.mark.parametrize(("where", "expr"), QUERIES)
def test_a_query_uses_only_labels_and_values_that_are_there(where: str, expr: str) -> None:
    for name, selector in SELECTOR.findall(expr):
        matchers = MATCHER.findall(selector)
        assert ", ".join(f'{label}{sign}"{value}"' for label, sign, value in matchers) == selector
        for label, _, value in matchers:
            assert label in exported()[name], f"{name} has no {label}"
            if label in VALUES and value:
                assert set(value.split("|")) <= VALUES[label]
    there = set().union(*(exported()[name] for name in metrics_of(expr)))
    replaced = REPLACED.findall(expr)
    assert expr.count("label_replace(") == len(replaced)
    there |= {target for target, _ in replaced}
    assert {source for _, source in replaced if source} <= there
    assert {label for labels in LABEL_LIST.findall(expr) for label in _split(labels)} <= there


@pytest.mark.parametrize(
    "expr",
    [
        "sum(rate(ray_serve_app_request_total[1m]))",
        "rate(ray_serve_app_requests[1m])",
        "mean(ray_serve_app_rule)",
    ],
)
def test_a_name_that_nobody_exports_is_found(expr: str) -> None:
    """The check itself can fail."""
    assert not metrics_of(expr) <= exported().keys()


def test_every_metric_of_ours_is_on_the_board() -> None:
    recorded = {rule["record"]: rule["expr"] for rule in queries.rules() if "record" in rule}
    shown = set().union(*(metrics_of(expr) for _, expr in queries.of_board()))
    for name, expr in reversed(recorded.items()):
        if name in shown:
            shown |= metrics_of(expr)
    names = {re.sub("_(bucket|count|sum)$", "", name) for name in ours()}
    assert names == {re.sub("_bucket$", "", name) for name in shown if name in ours()}


def test_every_recording_rule_is_used() -> None:
    used = set().union(*(metrics_of(expr) for _, expr in QUERIES))
    assert {rule["record"] for rule in queries.rules() if "record" in rule} <= used


def test_the_folder_explains_every_metric_of_ours() -> None:
    text = (queries.FOLDER / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(ray_\w+)` \| (.*?) \|", text, re.MULTILINE))
    told = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows.items()}
    assert told == {
        re.sub("_bucket$", "", name): labels - BY_SERVE - {"le"}
        for name, labels in ours().items()
        if not name.endswith(("_count", "_sum"))
    }


@pytest.mark.parametrize("name", OF_RAY)
def test_the_installed_serve_defines_what_is_stated_of_it(name: str) -> None:
    serve = Path(ray.__file__).parent / "serve"
    sources = "".join(path.read_text() for path in serve.glob("*.py"))
    sources += "".join(path.read_text() for path in (serve / "_private").glob("*.py"))
    base = name.removeprefix("ray_").removesuffix("_total")
    kind = "Counter" if name.endswith("_total") else "Gauge"
    assert re.search(rf'metrics\.{kind}\(\s*"{base}",', sources)
    for label in OF_RAY[name]:
        assert re.search(rf'"{base}",[^)]*tag_keys=\([^)]*"{label}"', sources)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["alert"].startswith("ServeApp")
    assert alert["labels"]["severity"] in ("critical", "warning")
    summary, description = alert["annotations"]["summary"], alert["annotations"]["description"]
    assert 0 < len(summary) < 140
    assert len(description) > 60
    named = set(re.findall(r"\$labels\.(\w+)", summary + description))
    assert named <= results_of(alert["expr"])


def test_alerts_have_names_of_their_own() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(names) == len(set(names))


class TestBoard:
    def test_it_names_no_machine_and_takes_its_prometheus_from_a_variable(self) -> None:
        board = queries.board()
        assert board["id"] is None
        (variable,) = board["templating"]["list"]
        assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
        asking = [*queries.panels(), *board["annotations"]["list"]]
        asking += [target for panel in queries.panels() for target in panel["targets"]]
        for entry in asking:
            assert entry["datasource"] == {"type": "prometheus", "uid": f"${{{variable['name']}}}"}

    def test_its_panels_have_numbers_titles_and_places_of_their_own(self) -> None:
        everything = queries.board()["panels"]
        assert len({panel["id"] for panel in everything}) == len(everything)
        taken = set()
        for panel in everything:
            assert panel["title"]
            place = panel["gridPos"]
            for x in range(place["x"], place["x"] + place["w"]):
                assert 0 <= x < 24
                for y in range(place["y"], place["y"] + place["h"]):
                    assert (x, y) not in taken
                    taken.add((x, y))

    @pytest.mark.parametrize("panel", queries.panels(), ids=lambda panel: panel["title"])
    def test_a_legend_names_labels_that_the_answers_have(self, panel: dict[str, Any]) -> None:
        for target in panel["targets"]:
            named = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            assert set(named) <= results_of(target["expr"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
