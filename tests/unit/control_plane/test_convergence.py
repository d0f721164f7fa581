"""Whether a configuration is in force, and what is lacking."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serve_app.control_plane.convergence import Convergence, assess
from serve_app.deployment.names import INGRESS
from serve_app.rules.plan import Pool
from tests.fake_cluster import FakeCluster
from tests.unit.control_plane.conftest import shipped


def cluster_of(name: str, stable: str = "", candidate: str | None = None) -> FakeCluster:
    """A cluster with a shipped file.

    Args:
        stable, candidate: The version of each replica of the pools; `-` is no version; by default,
            those of the file.
    """
    cluster = FakeCluster(shipped(name))
    for pool, versions in ((Pool.STABLE, stable or None), (Pool.CANDIDATE, candidate)):
        if versions is not None:
            cluster.versions[pool] = [None if v == "-" else v for v in versions.split()]
    return cluster


def convergence(cluster: FakeCluster, running: dict[str, int] | None = None) -> Convergence:
    """The convergence of a cluster.

    Args:
        running: The number of running replicas by deployment, if it is not that of the replicas
            that describe themselves.
    """
    state = asyncio.run(cluster.state())
    for name, count in (running or {}).items():
        deployments = state.applications["animals"].deployments
        found = deployments[name]
        replicas = found.replicas[:1] or deployments[INGRESS].replicas
        deployments[name] = type(found)(found.status, found.message, found.target, replicas * count)
    return assess(state, asyncio.run(cluster.replicas()))


def lacking(cluster: FakeCluster, running: dict[str, int] | None = None) -> list[tuple[str, str]]:
    """Codes and messages."""
    return [(item.code.value, item.message) for item in convergence(cluster, running).lacking]


@pytest.mark.parametrize(
    ("name", "stable", "candidate"),
    [
        ("base", "v1", None),
        ("base", "v1 v1", "v2"),
        ("rolling", "v2 v2 v2 v2", None),
        ("canary_parallel", "v1 v1", "v2"),
        ("canary_rolling", "v1 v2 v1 v1", None),
        ("ab_test", "v1", "v2 v2"),
        ("shadow", "v1", "v2"),
    ],
)
def test_it_is_in_force_when_the_pools_have_their_versions(
    name: str, stable: str, candidate: str | None
) -> None:
    found = convergence(cluster_of(name, stable, candidate))
    assert (found.lacking, found.in_force, found.has_failed) == ((), True, False)


@pytest.mark.parametrize("name", ["base", "canary_parallel", "canary_rolling", "ab_test", "shadow"])
def test_every_shipped_file_comes_into_force(name: str) -> None:
    assert lacking(cluster_of(name)) == []


@pytest.mark.parametrize(
    ("stable", "code", "expected"),
    [
        ("v1 v1 v1 v1", "updating", "updating StablePool to v2 (0 of 4 replicas ready)"),
        ("v2 v1 v2 v1", "updating", "updating StablePool to v2 (2 of 4 replicas ready)"),
        ("v2 v2 v2 -", "updating", "updating StablePool to v2 (3 of 4 replicas ready)"),
        # One does not describe itself in time; one is stopping.
        ("v2 v2 v2", "updating", "updating StablePool to v2 (3 of 4 replicas ready)"),
        ("v2 v2 v2 v2 v1", "updating", "updating StablePool to v2 (4 of 5 replicas ready)"),
    ],
)
def test_an_update_counts_replicas(stable: str, code: str, expected: str) -> None:
    assert lacking(cluster_of("rolling", stable), {"StablePool": 4}) == [(code, expected)]


def test_a_pool_without_replicas_is_starting() -> None:
    cluster = cluster_of("rolling")
    cluster.versions[Pool.STABLE] = []
    assert lacking(cluster) == [("starting", "starting v2 on StablePool (0 of 1 replicas ready)")]


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
    assert lacking(cluster_of("canary_rolling", stable), {"StablePool": 4}) == [
        ("updating", f"updating StablePool to 3 v1, 1 v2 (now {versions})")
    ]


@pytest.mark.parametrize("name", ["canary_parallel", "canary_rolling", "ab_test", "shadow"])
def test_a_candidate_must_be_ready(name: str) -> None:
    """Also with weight 0: tagged requests go to it."""
    cluster = cluster_of(name)
    cluster.candidate_ready = False
    assert lacking(cluster) == [("candidate", "waiting for candidate v2 to become ready")]


def test_only_the_pools_of_the_rule_count() -> None:
    assert lacking(cluster_of("canary_parallel", "v1", "v1")) == [
        ("updating", "updating CandidatePool to v2 (0 of 1 replicas ready)")
    ]
    for name, stable in (("base", "v1"), ("canary_rolling", "v1 v1 v1 v2")):
        assert lacking(cluster_of(name, stable, "v1")) == []


def test_an_ingress_with_another_rule_is_waited_for() -> None:
    cluster = cluster_of("base")
    cluster.document = shipped("rolling")
    cluster.versions[Pool.STABLE] = ["v2"]
    assert lacking(cluster) == [
        ("updating", "StablePool has not read its configuration yet"),
        ("rule", "0 of 1 ingresses have rule 9d40526c"),
    ]


def test_an_ingress_that_does_not_answer_is_waited_for() -> None:
    assert lacking(cluster_of("base"), {INGRESS: 2}) == [
        ("rule", "1 of 2 ingresses have rule 7360430c")
    ]


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        (INGRESS, "a rule was rejected: rule.stable is v9"),
        (Pool.STABLE, "StablePool rejected its configuration: rule.stable is v9"),
    ],
)
def test_a_rejection_fails(deployment: str, expected: str) -> None:
    cluster = cluster_of("base")
    cluster.rejected[deployment] = {"path": "rule.stable", "message": "is v9"}
    found = convergence(cluster)
    assert (found.has_failed, found.troubles) == (True, (expected,))
    assert found.lacking[0].code == "rejected"


def test_the_rejection_of_an_earlier_configuration_is_not_a_failure() -> None:
    cluster = cluster_of("base")
    cluster.rejected = {name: {"path": "a", "message": "b"} for name in (INGRESS, *Pool)}
    cluster.document = shipped("rolling")
    found = convergence(cluster)
    assert (found.in_force, found.has_failed, found.troubles) == (False, False, ())


@pytest.mark.parametrize(
    ("name", "status", "code", "message", "fails"),
    [
        ("animals", "DEPLOYING", "deploying", "application animals is deploying", False),
        ("animals", "NOT_STARTED", "deploying", "application animals is not started", False),
        ("Ingress", "UPDATING", "deploying", "deployment Ingress is updating", False),
        ("Ingress", "UNHEALTHY", "unhealthy", "deployment Ingress is UNHEALTHY: no room", False),
        (
            "animals",
            "DEPLOY_FAILED",
            "deploy_failed",
            "application animals is DEPLOY_FAILED: no room",
            True,
        ),
        ("control", "UNHEALTHY", "unhealthy", "application control is UNHEALTHY: no room", False),
    ],
)
def test_progress_is_no_trouble_and_a_failed_deployment_ends_the_wait(
    name: str, status: str, code: str, message: str, fails: bool
) -> None:
    cluster = cluster_of("base")
    cluster.statuses[name], cluster.messages[name] = status, "Traceback\nno room"
    found = convergence(cluster)
    assert [(item.code, item.message) for item in found.lacking] == [(code, message)]
    assert found.has_failed is fails
    assert found.troubles == (() if code == "deploying" else (message,))


def test_the_failure_before_is_not_that_of_an_application_that_is_deploying() -> None:
    cluster = cluster_of("base")
    cluster.statuses = {"animals": "DEPLOYING", "StablePool": "DEPLOY_FAILED"}
    found = convergence(cluster)
    assert (found.in_force, found.has_failed, found.troubles) == (False, False, ())


def test_another_application_does_not_decide() -> None:
    document = shipped("base")
    document["applications"].append({"name": "other", "import_path": "x:y", "route_prefix": "/x"})
    cluster = FakeCluster(document)
    cluster.statuses["other"] = "DEPLOY_FAILED"
    assert convergence(cluster).in_force


@pytest.mark.parametrize("status", ["HEALTHY", "UPSCALING", "DOWNSCALING"])
def test_a_change_of_size_is_not_waited_for(status: str) -> None:
    cluster = cluster_of("base")
    cluster.statuses["StablePool"] = status
    assert lacking(cluster) == []


def test_a_missing_data_plane_is_a_trouble() -> None:
    document = shipped("base")
    document["applications"] = [a for a in document["applications"] if a["name"] == "control"]
    found = convergence_of(document)
    assert found.troubles == ("the application animals is not deployed",)


def test_a_configuration_without_a_rule_is_not_in_force() -> None:
    """As `serve deploy` may send."""
    document = shipped("base")
    for deployment in document["applications"][0]["deployments"]:
        deployment["user_config"] = {}
    assert not convergence_of(document, shipped("base")).in_force


def test_the_most_important_comes_first() -> None:
    cluster = cluster_of("canary_parallel", "v1", "")
    cluster.candidate_ready = False
    cluster.statuses = {"animals": "DEPLOYING", "Ingress": "UNHEALTHY"}
    codes = [code for code, _ in lacking(cluster)]
    assert codes == ["unhealthy", "starting", "candidate", "deploying"]


def convergence_of(
    document: dict[str, Any], effective: dict[str, Any] | None = None
) -> Convergence:
    """The convergence of a cluster with a document, and replicas of another."""
    cluster = FakeCluster(effective or document)
    cluster.document = document
    return convergence(cluster)
