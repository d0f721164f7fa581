"""What is told to be missing, and when nothing is."""

from __future__ import annotations

from typing import Any, cast

import pytest

from serve_app.cli import waiting
from serve_app.cli.waiting import Goal, goal, lacking
from serve_app.client import Client
from serve_app.deployment import config
from serve_app.errors import DeployFailed
from tests.unit.cli.conftest import ROOT


def deployed(name: str, **settings: Any) -> Goal:
    """What a shipped file asks for; `settings` are of its rule."""
    document = config.read(ROOT / f"deploy_configs/{name}.yaml")
    ingress = document["applications"][0]["deployments"][0]
    ingress["user_config"]["rule"].update(settings)
    return goal(document)


def answer(
    wanted: Goal, stable: str, candidate: str = "", *, ready: bool = True, rule_id: str = ""
) -> dict[str, Any]:
    """What `GET /v1/rule` says of pools that hold these versions; `-` holds none."""
    pools = {"StablePool": stable.split(), "CandidatePool": candidate.split()}
    return {
        "rule_id": rule_id or wanted.rule.rule_id,
        "candidate": {"ready": ready} if wanted.rule.candidate_replicas else None,
        "pools": [
            {"pool": pool, "replicas": [{"version": None if v == "-" else v} for v in versions]}
            for pool, versions in pools.items()
        ],
    }


def status(stable: int = 1, *starting: str) -> dict[str, Any]:
    """What Serve says of the replicas of the stable pool."""
    replicas = [{"state": state} for state in ("RUNNING",) * stable + starting]
    return {"applications": {"animals": {"deployments": {"StablePool": {"replicas": replicas}}}}}


@pytest.mark.parametrize(
    ("name", "stable", "candidate"),
    [
        ("base", "v1", ""),
        ("base", "v1 v1", "v2"),
        ("rolling", "v2 v2 v2 v2", ""),
        ("canary_parallel", "v1 v1", "v2"),
        ("canary_rolling", "v1 v2 v1 v1", ""),
        ("ab_test", "v1", "v2 v2"),
        ("shadow", "v1", "v2"),
    ],
)
def test_nothing_is_missing_where_the_pools_hold_what_they_shall(
    name: str, stable: str, candidate: str
) -> None:
    wanted = deployed(name)
    assert lacking(wanted, answer(wanted, stable, candidate), status()) == []


def test_another_rule_is_missing_the_wanted_one() -> None:
    wanted = deployed("base")
    assert lacking(wanted, answer(wanted, "v1", rule_id="0badc0de"), status()) == [
        "rule 0badc0de is still in force"
    ]


@pytest.mark.parametrize(
    ("stable", "expected"),
    [
        ("", "no replica of StablePool tells what it holds"),
        ("v1 v1 v1 v1", "StablePool: 0 of 4 replicas hold v2"),
        ("v2 v1 v2 v1", "StablePool: 2 of 4 replicas hold v2"),
        ("v2 v2 v2 -", "StablePool: 3 of 4 replicas hold v2"),
        ("v2 v2 v2", "StablePool: 3 of 4 replicas hold v2"),  # one does not tell
        ("v2 v2 v2 v2 v1", "StablePool: 4 of 5 replicas hold v2"),  # one is stopping
    ],
)
def test_an_update_is_counted_by_replicas(stable: str, expected: str) -> None:
    wanted = deployed("rolling")
    assert lacking(wanted, answer(wanted, stable), status(4)) == [expected]


def test_a_replica_that_starts_is_not_waited_for() -> None:
    """A pool may want more of them than the machine has room for."""
    wanted = deployed("rolling")
    assert lacking(wanted, answer(wanted, "v2"), status(1, "STARTING")) == []


@pytest.mark.parametrize(
    ("stable", "held"),
    [
        ("v1 v1 v1 v1", "4 v1"),
        ("v1 v1 v2 v2", "2 v1, 2 v2"),
        ("v1 v1 v2", "2 v1, 1 v2"),
        ("v1 v1 v1 v1 v2", "4 v1, 1 v2"),
        ("v1 v1 - v2", "1 none, 2 v1, 1 v2"),
    ],
)
def test_a_patched_pool_holds_exactly_what_it_is_told(stable: str, held: str) -> None:
    wanted = deployed("canary_rolling")
    assert lacking(wanted, answer(wanted, stable), status(4)) == [
        f"StablePool holds {held}: expected 3 v1, 1 v2"
    ]


@pytest.mark.parametrize("name", ["canary_parallel", "canary_rolling", "ab_test", "shadow"])
def test_a_candidate_that_is_asked_must_be_ready(name: str) -> None:
    wanted = deployed(name)
    stable = "v1 v1 v1 v2" if name == "canary_rolling" else "v1"
    assert lacking(wanted, answer(wanted, stable, "v2", ready=False), status()) == [
        "the candidate v2 is not ready"
    ]


def test_a_candidate_without_a_share_must_be_ready_too() -> None:
    """Whoever is tagged asks for it."""
    wanted = deployed("canary_parallel", weight=0.0)
    assert lacking(wanted, answer(wanted, "v1", "v2", ready=False), status()) == [
        "the candidate v2 is not ready"
    ]


def test_the_pool_of_a_candidate_is_waited_for_only_where_the_rule_has_it() -> None:
    """Elsewhere it idles, and what it holds is nobody's concern."""
    wanted = deployed("canary_parallel")
    assert lacking(wanted, answer(wanted, "v1", "v1"), status()) == [
        "CandidatePool: 0 of 1 replicas hold v2"
    ]
    assert lacking(wanted, answer(wanted, "v1"), status()) == [
        "no replica of CandidatePool tells what it holds"
    ]
    for name, stable in (("base", "v1"), ("canary_rolling", "v1 v1 v1 v2")):
        wanted = deployed(name)
        assert lacking(wanted, answer(wanted, stable, "v1"), status()) == []


class Superseded:
    """A service in which somebody deployed again right after revision 1."""

    def __init__(self, made: int) -> None:
        self._made = made
        self._document = config.read(ROOT / "deploy_configs/base.yaml")

    def revisions(self, limit: int) -> list[dict[str, Any]]:
        return [{"number": n, "document": self._document} for n in range(self._made, 0, -1)][:limit]

    def rule(self) -> dict[str, Any]:
        return {"rule_id": "another", "rejected": None}

    def status(self) -> dict[str, Any]:
        return {"revision": self._made, "applications": {}}


@pytest.mark.parametrize(
    ("made", "message"),
    [(2, "revision 2 was made meanwhile"), (50, "20 other revisions or more were made meanwhile")],
)
def test_nobody_waits_for_what_was_replaced_already(
    monkeypatch: pytest.MonkeyPatch, made: int, message: str
) -> None:
    monkeypatch.setattr(waiting, "SETTLE_S", 0)
    with pytest.raises(DeployFailed) as caught:
        waiting.until_in_force(cast("Client", Superseded(made)), 1)
    assert str(caught.value) == message
