"""The conditions of a desired state that are not met yet."""

from __future__ import annotations

from typing import Any, cast

import pytest

from serve_app.cli import waiting
from serve_app.cli.waiting import DesiredState, desired_state, unmet_conditions
from serve_app.client import Client
from serve_app.deployment import config
from serve_app.errors import DeployFailed
from tests.unit.cli.conftest import ROOT


def desired_by_file(name: str, **settings: Any) -> DesiredState:
    """The desired state of a shipped file, with changed settings of its rule."""
    document = config.read(ROOT / f"deploy_configs/{name}.yaml")
    ingress = document["applications"][0]["deployments"][0]
    ingress["user_config"]["rule"].update(settings)
    return desired_state(document)


def rule_response(
    desired: DesiredState,
    stable: str,
    candidate: str = "",
    *,
    ready: bool = True,
    rule_id: str = "",
) -> dict[str, Any]:
    """A response of `GET /v1/rule`.

    Args:
        stable, candidate: The version of each replica of the pools; `-` is no version.
    """
    pools = {"StablePool": stable.split(), "CandidatePool": candidate.split()}
    return {
        "rule_id": rule_id or desired.rule.rule_id,
        "candidate": {"ready": ready} if desired.rule.candidate_replicas else None,
        "pools": [
            {"pool": pool, "replicas": [{"version": None if v == "-" else v} for v in versions]}
            for pool, versions in pools.items()
        ],
    }


def status_response(stable: int = 1, *starting: str) -> dict[str, Any]:
    """A response of `GET /control/status`, with the replicas of the stable pool."""
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
def test_no_condition_is_unmet_when_the_pools_have_their_versions(
    name: str, stable: str, candidate: str
) -> None:
    desired = desired_by_file(name)
    assert (
        unmet_conditions(desired, rule_response(desired, stable, candidate), status_response())
        == []
    )


def test_another_rule_is_waited_for() -> None:
    desired = desired_by_file("base")
    assert unmet_conditions(
        desired, rule_response(desired, "v1", rule_id="0badc0de"), status_response()
    ) == [f"waiting for rule {desired.rule.rule_id} to replace rule 0badc0de"]


@pytest.mark.parametrize(
    ("stable", "expected"),
    [
        ("", "starting v2 on StablePool (0 of 1 replicas ready)"),
        ("v1 v1 v1 v1", "updating StablePool to v2 (0 of 4 replicas ready)"),
        ("v2 v1 v2 v1", "updating StablePool to v2 (2 of 4 replicas ready)"),
        ("v2 v2 v2 -", "updating StablePool to v2 (3 of 4 replicas ready)"),
        ("v2 v2 v2", "updating StablePool to v2 (3 of 4 replicas ready)"),  # one does not report
        ("v2 v2 v2 v2 v1", "updating StablePool to v2 (4 of 5 replicas ready)"),  # one is stopping
    ],
)
def test_an_update_counts_replicas(stable: str, expected: str) -> None:
    desired = desired_by_file("rolling")
    assert unmet_conditions(desired, rule_response(desired, stable), status_response(4)) == [
        expected
    ]


def test_a_starting_replica_is_not_waited_for() -> None:
    """The machine may not have space for all replicas of a pool."""
    desired = desired_by_file("rolling")
    assert (
        unmet_conditions(desired, rule_response(desired, "v2"), status_response(1, "STARTING"))
        == []
    )


@pytest.mark.parametrize(
    ("stable", "versions"),
    [
        ("v1 v1 v1 v1", "4 v1"),
        ("v1 v1 v2 v2", "2 v1, 2 v2"),
        ("v1 v1 v2", "2 v1, 1 v2"),
        ("v1 v1 v1 v1 v2", "4 v1, 1 v2"),
        ("v1 v1 - v2", "1 none, 2 v1, 1 v2"),
    ],
)
def test_a_patched_pool_needs_its_exact_versions(stable: str, versions: str) -> None:
    desired = desired_by_file("canary_rolling")
    assert unmet_conditions(desired, rule_response(desired, stable), status_response(4)) == [
        f"updating StablePool to 3 v1, 1 v2 (now {versions})"
    ]


@pytest.mark.parametrize("name", ["canary_parallel", "canary_rolling", "ab_test", "shadow"])
def test_a_candidate_must_be_ready(name: str) -> None:
    desired = desired_by_file(name)
    stable = "v1 v1 v1 v2" if name == "canary_rolling" else "v1"
    assert unmet_conditions(
        desired, rule_response(desired, stable, "v2", ready=False), status_response()
    ) == ["waiting for candidate v2 to become ready"]


def test_a_candidate_with_weight_0_must_be_ready() -> None:
    """Tagged requests go to it."""
    desired = desired_by_file("canary_parallel", weight=0.0)
    assert unmet_conditions(
        desired, rule_response(desired, "v1", "v2", ready=False), status_response()
    ) == ["waiting for candidate v2 to become ready"]


def test_only_the_pools_of_the_rule_are_waited_for() -> None:
    """Other rules do not use the candidate pool."""
    desired = desired_by_file("canary_parallel")
    assert unmet_conditions(desired, rule_response(desired, "v1", "v1"), status_response()) == [
        "updating CandidatePool to v2 (0 of 1 replicas ready)"
    ]
    assert unmet_conditions(desired, rule_response(desired, "v1"), status_response()) == [
        "starting v2 on CandidatePool (0 of 1 replicas ready)"
    ]
    for name, stable in (("base", "v1"), ("canary_rolling", "v1 v1 v1 v2")):
        desired = desired_by_file(name)
        assert (
            unmet_conditions(desired, rule_response(desired, stable, "v1"), status_response()) == []
        )


class SupersededService:
    """A client of a service with newer revisions than revision 1."""

    def __init__(self, revisions: int) -> None:
        self._revisions = revisions
        self._document = config.read(ROOT / "deploy_configs/base.yaml")

    def revisions(self, limit: int) -> list[dict[str, Any]]:
        return [{"number": n, "document": self._document} for n in range(self._revisions, 0, -1)][
            :limit
        ]

    def rule(self) -> dict[str, Any]:
        return {"rule_id": "another", "rejected": None}

    def status(self) -> dict[str, Any]:
        return {"revision": self._revisions, "applications": {}}


@pytest.mark.parametrize(
    ("revisions", "message"),
    [
        (2, "revision 2 was deployed in the meantime"),
        (50, "20 or more other revisions were deployed in the meantime"),
    ],
)
def test_a_superseded_revision_is_an_error(
    monkeypatch: pytest.MonkeyPatch, revisions: int, message: str
) -> None:
    monkeypatch.setattr(waiting, "SETTLE_S", 0)
    with pytest.raises(DeployFailed) as caught:
        waiting.wait_until_in_force(cast("Client", SupersededService(revisions)), 1)
    assert str(caught.value) == message
