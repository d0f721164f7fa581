from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.deployment import config
from serve_app.errors import BadPeriod, NoSuchVersion, NothingToReport
from serve_app.reports.service import ReportService
from tests.unit.reports.conftest import CANARY, SHADOW, TEST, StoreBuilder, as_json

BASE = Path(__file__).parents[3] / "deploy_configs/base.yaml"
BEGIN = "2023-11-15"


@pytest.fixture
def reports(database_url: str) -> ReportService:
    return ReportService(database_url)


def deploy(builder: StoreBuilder) -> None:
    """Store a revision that uses the shipped registry."""
    builder.build().add_revision(config.read(BASE), "anna", "a test", 0)


@pytest.mark.parametrize(
    ("name", "rule"), [("traffic", CANARY), ("canary", CANARY), ("ab", TEST), ("shadow", SHADOW)]
)
def test_make_returns_each_report(
    builder: StoreBuilder, reports: ReportService, name: str, rule: object
) -> None:
    assert isinstance(rule, dict)
    builder.adopt_rule(rule)
    builder.add_exposure("v1", user=1, region="AU")
    deploy(builder)
    report = as_json(reports.make(name, BEGIN, "AU"))
    assert (report["report"], report["period"]["region"]) == (name, "AU")


@pytest.mark.parametrize("name", ["canary", "ab", "shadow"])
def test_labels_come_from_the_cards_of_the_registry(
    builder: StoreBuilder, reports: ReportService, name: str
) -> None:
    for hour, rule in enumerate((CANARY, TEST, SHADOW)):
        builder.adopt_rule(rule, minute=60 * hour)
    deploy(builder)
    report = reports.make(name, BEGIN, None)
    labels = report["classes"] if name == "canary" else report["labels"]
    assert labels["shared"] == ["cat", "dog"]
    assert labels.get("new", ["koala"]) == ["koala"]


def test_make_selects_an_experiment_by_name(builder: StoreBuilder, reports: ReportService) -> None:
    builder.adopt_rule(CANARY, experiment="first")
    builder.adopt_rule(CANARY, minute=60, experiment="second")
    deploy(builder)
    assert reports.make("canary", BEGIN, None)["experiment"] == "second"
    assert reports.make("canary", BEGIN, None, "first")["experiment"] == "first"


def test_invalid_arguments_are_errors(builder: StoreBuilder, reports: ReportService) -> None:
    builder.adopt_rule(CANARY)
    deploy(builder)
    with pytest.raises(BadPeriod):
        reports.make("traffic", "soon", None)
    with pytest.raises(NothingToReport):
        reports.make("ab", BEGIN, None)
    with pytest.raises(ValueError, match="no report weather"):
        reports.make("weather", BEGIN, None)


def test_without_a_revision_labels_are_not_known(
    builder: StoreBuilder, reports: ReportService
) -> None:
    builder.adopt_rule(SHADOW)
    builder.build()
    with pytest.raises(NothingToReport, match="nothing was deployed yet"):
        reports.make("shadow", BEGIN, None)


def test_labels_of_a_removed_version_come_from_its_predictions(
    builder: StoreBuilder, reports: ReportService
) -> None:
    """v3 is not in the registry."""
    builder.adopt_rule(SHADOW, candidate="v3")
    builder.add_pair(builder.add_exposure("v1", user=1), "koala", candidate="v3")
    builder.add_pair(builder.add_exposure("v1", user=2), "cat", candidate="v3")
    builder.add_pair(builder.add_exposure("v1", user=3), None, candidate="v3")
    deploy(builder)
    assert reports.make("shadow", BEGIN, None)["labels"] == {"shared": ["cat"], "new": ["koala"]}


def test_a_removed_version_without_predictions_is_an_error(
    builder: StoreBuilder, reports: ReportService
) -> None:
    builder.adopt_rule(SHADOW, candidate="v3")
    builder.add_exposure("v1", user=1)
    deploy(builder)
    assert reports.make("traffic", BEGIN, None)["epochs"][0]["exposures"] == 1
    with pytest.raises(NoSuchVersion, match="no version 'v3': the registry has v1, v2"):
        reports.make("shadow", BEGIN, None)
