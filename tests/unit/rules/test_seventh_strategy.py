"""A new strategy is one module and one line in the registry; everything else follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from docs import reference
from models import registry
from serve_app.clock import now_ms
from serve_app.deployment import config
from serve_app.deployment.apply_rule import deployment, with_rule
from serve_app.errors import BadConfig
from serve_app.reports.assessment import EXPERIMENT_REPORTS
from serve_app.reports.canary import CanaryAssessment
from serve_app.reports.experiment import find_experiment
from serve_app.reports.period import parse_period
from serve_app.rules.canary import Canary
from serve_app.rules.parse import parse_rule
from serve_app.rules.plan import Pool
from serve_app.rules.registry import KINDS
from serve_app.store.store import open_store
from tests.unit.recording.fakes import VirtualTimeLoop
from tests.unit.service import Service

BASE = Path(__file__).parents[3] / "deploy_configs" / "base.yaml"
KNOWN = registry.names()


class VisitCanary(Canary):
    """A canary that assigns visits, not users.

    Attributes:
        percent: The share of sessions that is served by the candidate, in percent.
    """

    kind: Literal["visit_canary"]
    percent: Annotated[int, Field(ge=0, le=50)]
    unit: Literal["session"] = "session"

    @property
    def share(self) -> float:
        return self.percent / 100

    @property
    def accepts_tags(self) -> bool:
        return False

    def _share_keys(self, share: float) -> dict[str, Any]:
        return {"percent": round(100 * share)}


RULE: dict[str, Any] = {
    "kind": "visit_canary",
    "stable": "v1",
    "candidate": "v2",
    "percent": 50,
    "experiment": "visits",
}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "visit_canary", VisitCanary)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path, loop=VirtualTimeLoop) as service:
        service.apply_rule_with_candidate(**RULE)
        yield service


def serve_visits(service: Service) -> list[str]:
    """Send a request of each of 40 visits; the versions that served them."""
    return [
        service.classify(x_session_id=f"visit-{number}").json()["version"] for number in range(40)
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"percent": 60}, "rule.percent is 60: expected at most 50"),
        ({"candidate": "v1"}, "rule.candidate is v1: the rule has that version already"),
        ({"candidate": "v99"}, "rule.candidate is v99: the registry has"),
        ({"weight": 0.5}, "rule.weight is not a key here"),
        ({"kind": "visits"}, "rule.kind is 'visits': expected one of"),
    ],
)
def test_it_is_parsed_with_the_path_of_a_wrong_key(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(BadConfig) as caught:
        parse_rule(RULE | changes, KNOWN)
    assert str(caught.value).startswith(text)
    assert parse_rule(RULE, KNOWN).with_share(0.2).content()["percent"] == 20


def test_requests_are_served_by_its_plan(service: Service) -> None:
    served = serve_visits(service)
    assert set(served) == {"v1", "v2"}
    assert serve_visits(service) == served, "sticky"
    shown = service.request("GET", "/v1/rule").json()
    assert (shown["rule"]["percent"], shown["effective_weight"]) == (50, 0.5)
    explained = service.request("GET", "/v1/explain", headers={"X-Session-Id": "visit-0"}).json()
    assert (explained["version"], explained["experiment"]) == (served[0], "visits")


def test_its_pools_are_composed_and_checked() -> None:
    rule = parse_rule(RULE, KNOWN)
    document = with_rule(config.read(BASE), RULE, rule)
    assert config.check(document, KNOWN) == rule
    candidate = deployment(document, Pool.CANDIDATE)
    assert candidate["user_config"] == {"version": "v2"}
    assert candidate["autoscaling_config"]["min_replicas"] == 1
    candidate["user_config"] = {"version": "v1"}
    with pytest.raises(BadConfig, match=r"rule\.candidate is v2"):
        config.check(document, KNOWN)


def test_its_report_finds_its_experiment(service: Service, tmp_path: Path) -> None:
    served = serve_visits(service)
    rule = service.plane.rule
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    for batch in service.batches():
        store.record(batch)
    period = parse_period(now_ms(), "1h", None, None)
    experiment = find_experiment(store, rule.report, period, "visits")
    assessment = EXPERIMENT_REPORTS[rule.report](
        store, period, lambda version: registry.load(version).card.labels, experiment
    )
    store.close()
    assert isinstance(assessment, CanaryAssessment)
    assert (assessment.split.kind, assessment.split.unit) == ("visit_canary", "session")
    assert {(row.version, row.counts.exposures) for row in assessment.reasons} == set(
        Counter(served).items()
    )


def test_the_reference_describes_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    reference.rules()
    _, _, section = capsys.readouterr().out.partition("### `kind: visit_canary`\n")
    assert "A canary that assigns visits, not users." in section
    (row,) = [line for line in section.splitlines() if line.startswith("| `percent`")]
    assert row.split(" | ")[1:] == [
        "integer",
        "required",
        "≥ 0, ≤ 50",
        "The share of sessions that is served by the candidate, in percent. |",
    ]
