from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serve_app.clock import HOUR_MS
from serve_app.deployment import config
from serve_app.errors import BadPeriod, NoSuchVersion, NothingToReport
from serve_app.reports.query import ReportQuery
from serve_app.reports.service import ReportService
from serve_app.store.revisions import NewRevision, RevisionKind
from tests.unit.reports.conftest import CANARY, SHADOW, START_MS, TEST, StoreBuilder, as_json

BASE = Path(__file__).parents[3] / "deploy_configs/base.yaml"
BEGIN = "2023-11-15"


@pytest.fixture
def reports(database_url: str) -> ReportService:
    return ReportService(database_url)


def deploy(builder: StoreBuilder) -> None:
    """Store a revision that uses the shipped registry."""
    new = NewRevision(RevisionKind.DEPLOY, config.read(BASE), "anna", "a test")
    builder.build().add_revision(new, at_ms=0)


@pytest.mark.parametrize("name", ["canary", "ab", "shadow"])
def test_labels_come_from_the_cards_of_the_registry(
    builder: StoreBuilder, reports: ReportService, name: str
) -> None:
    for hour, rule in enumerate((CANARY, TEST, SHADOW)):
        builder.adopt_rule(rule, minute=60 * hour)
    deploy(builder)
    report = as_json(reports.make(name, ReportQuery(BEGIN)))
    labels = report["classes"] if name == "canary" else report["labels"]
    assert labels["shared"] == ["cat", "dog"]
    assert labels.get("new", ["koala"]) == ["koala"]


def test_shadows_are_selected_by_name_and_never_poured_together(
    builder: StoreBuilder, reports: ReportService
) -> None:
    """All three have the same versions."""
    for number, name in enumerate(("monday", "tuesday", None)):
        builder.adopt_rule(SHADOW | ({"experiment": name} if name else {}), minute=60 * number)
        for user in range(number + 1):
            builder.add_pair(builder.add_exposure("v1", user, 60 * number, reason="static"), "cat")
    deploy(builder)
    for name, copies in ((None, 3), ("monday", 1), ("tuesday", 2), ("shadow-v1-v2", 3)):
        report = as_json(reports.make("shadow", ReportQuery(BEGIN, experiment=name)))
        assert (report["experiment"], report["outcomes"]["copied"]) == (
            name or "shadow-v1-v2",
            copies,
        )
    with pytest.raises(NothingToReport, match=r"there is monday, tuesday, shadow-v1-v2$"):
        reports.make("shadow", ReportQuery(BEGIN, experiment="sunday"))


@pytest.mark.parametrize(
    ("name", "rule"), [("traffic", CANARY), ("canary", CANARY), ("ab", TEST), ("shadow", SHADOW)]
)
def test_a_report_may_end_in_the_past(
    builder: StoreBuilder, reports: ReportService, name: str, rule: dict[str, Any]
) -> None:
    """At 01:00: the exposures at 00:10 and 00:50 count, those at 01:00 and 01:10 do not."""
    builder.adopt_rule(rule, unit="request") if name == "ab" else builder.adopt_rule(rule)
    reason = "static" if name == "shadow" else "split"
    for user, minute in enumerate((10, 50, 60, 70)):
        exposure = builder.add_exposure("v1", user, minute, reason=reason)
        if name == "shadow":
            builder.add_pair(exposure, "cat")
    deploy(builder)
    report = as_json(reports.make(name, ReportQuery(BEGIN, until="2023-11-15T01:00")))
    assert report["period"]["until_ms"] == START_MS + HOUR_MS
    counts = {
        "traffic": lambda: report["exposures"],
        "canary": lambda: report["srm"]["stable"],
        "ab": lambda: report["srm"]["control"],
        "shadow": lambda: report["outcomes"]["copied"],
    }
    assert counts[name]() == 2


def test_invalid_arguments_are_errors(builder: StoreBuilder, reports: ReportService) -> None:
    builder.adopt_rule(CANARY)
    deploy(builder)
    with pytest.raises(BadPeriod):
        reports.make("traffic", ReportQuery("soon"))
    with pytest.raises(BadPeriod):
        reports.make("traffic", ReportQuery(BEGIN, until="2023-11-01"))
    with pytest.raises(BadPeriod):
        reports.overview("soon")
    with pytest.raises(NothingToReport):
        reports.make("ab", ReportQuery(BEGIN))


def test_without_a_revision_labels_are_not_known(
    builder: StoreBuilder, reports: ReportService
) -> None:
    builder.adopt_rule(SHADOW)
    builder.build()
    with pytest.raises(NothingToReport, match="nothing was deployed yet"):
        reports.make("shadow", ReportQuery(BEGIN))


def test_labels_of_a_removed_version_come_from_its_predictions(
    builder: StoreBuilder, reports: ReportService
) -> None:
    """v3 is not in the registry."""
    builder.adopt_rule(SHADOW, candidate="v3")
    builder.add_pair(builder.add_exposure("v1", user=1), "koala", candidate="v3")
    builder.add_pair(builder.add_exposure("v1", user=2), "cat", candidate="v3")
    builder.add_pair(builder.add_exposure("v1", user=3), None, candidate="v3")
    deploy(builder)
    report = as_json(reports.make("shadow", ReportQuery(BEGIN)))
    assert report["labels"] == {"shared": ["cat"], "new": ["koala"]}


def test_a_removed_version_without_predictions_is_an_error(
    builder: StoreBuilder, reports: ReportService
) -> None:
    builder.adopt_rule(SHADOW, candidate="v3")
    builder.add_exposure("v1", user=1)
    deploy(builder)
    assert as_json(reports.make("traffic", ReportQuery(BEGIN)))["epochs"][0]["exposures"] == 1
    with pytest.raises(NoSuchVersion, match="no version 'v3': the registry has v1, v2"):
        reports.make("shadow", ReportQuery(BEGIN))
