from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.deployment import config
from serve_app.errors import BadPeriod, NoSuchVersion, NothingToReport
from serve_app.reports.service import ReportService
from tests.unit.reports.conftest import CANARY, SHADOW, TEST, Diary, as_json

BASE = Path(__file__).parents[3] / "deploy_configs/base.yaml"
BEGIN = "2023-11-15"


@pytest.fixture
def desk(database_url: str) -> ReportService:
    return ReportService(database_url)


def deployed(diary: Diary) -> None:
    """The registry that is shipped is in use."""
    diary.store().add_revision(config.read(BASE), "anna", "a test", 0)


@pytest.mark.parametrize(
    ("name", "rule"), [("traffic", CANARY), ("canary", CANARY), ("ab", TEST), ("shadow", SHADOW)]
)
def test_each_report_is_made(diary: Diary, desk: ReportService, name: str, rule: object) -> None:
    assert isinstance(rule, dict)
    diary.obeys(rule)
    diary.answers("v1", user=1, region="AU")
    deployed(diary)
    found = as_json(desk.make(name, BEGIN, "AU"))
    assert (found["report"], found["period"]["region"]) == (name, "AU")


@pytest.mark.parametrize("name", ["canary", "ab", "shadow"])
def test_the_cards_say_which_labels_are_new(diary: Diary, desk: ReportService, name: str) -> None:
    for hour, rule in enumerate((CANARY, TEST, SHADOW)):
        diary.obeys(rule, minute=60 * hour)
    deployed(diary)
    found = desk.make(name, BEGIN, None)
    labels = found["classes"] if name == "canary" else found["labels"]
    assert labels["shared"] == ["cat", "dog"]
    assert labels.get("new", ["koala"]) == ["koala"]


def test_an_experiment_is_reported_by_name(diary: Diary, desk: ReportService) -> None:
    diary.obeys(CANARY, experiment="first")
    diary.obeys(CANARY, minute=60, experiment="second")
    deployed(diary)
    assert desk.make("canary", BEGIN, None)["experiment"] == "second"
    assert desk.make("canary", BEGIN, None, "first")["experiment"] == "first"


def test_what_cannot_be_asked_is_told(diary: Diary, desk: ReportService) -> None:
    diary.obeys(CANARY)
    deployed(diary)
    with pytest.raises(BadPeriod):
        desk.make("traffic", "soon", None)
    with pytest.raises(NothingToReport):
        desk.make("ab", BEGIN, None)
    with pytest.raises(ValueError, match="no report weather"):
        desk.make("weather", BEGIN, None)


def test_without_a_registry_no_labels_are_known(diary: Diary, desk: ReportService) -> None:
    diary.obeys(SHADOW)
    diary.store()
    with pytest.raises(NothingToReport, match="nothing was deployed yet"):
        desk.make("shadow", BEGIN, None)


def test_a_version_that_vanished_is_known_by_what_it_said(
    diary: Diary, desk: ReportService
) -> None:
    """v3 was removed from the registry."""
    diary.obeys(SHADOW, candidate="v3")
    diary.copies(diary.answers("v1", user=1), "koala", candidate="v3")
    diary.copies(diary.answers("v1", user=2), "cat", candidate="v3")
    diary.copies(diary.answers("v1", user=3), None, candidate="v3")
    deployed(diary)
    assert desk.make("shadow", BEGIN, None)["labels"] == {"shared": ["cat"], "new": ["koala"]}


def test_of_a_version_that_vanished_unheard_nothing_is_known(
    diary: Diary, desk: ReportService
) -> None:
    diary.obeys(SHADOW, candidate="v3")
    diary.answers("v1", user=1)
    deployed(diary)
    assert desk.make("traffic", BEGIN, None)["epochs"][0]["exposures"] == 1
    with pytest.raises(NoSuchVersion, match="no version 'v3': the registry has v1, v2"):
        desk.make("shadow", BEGIN, None)
