"""Every strategy on a real cluster, under load. The tests share one service and run in order."""

from __future__ import annotations

import copy
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from scipy import stats

from serve_app.lifecycle.processes import identify
from serve_app.privacy.pseudonyms import Pseudonymizer
from serve_app.rules.bucket import bucket
from tests.e2e import faults
from tests.e2e.load import Load, SentRequest
from tests.e2e.service import COMMAND_TIMEOUT_S
from tests.e2e.waiting import eventually

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "deploy_configs"
CANDIDATE_TIMEOUT_S = 15  # long, because the test machine may be busy
PARALLEL: dict[str, Any] = {
    "kind": "canary_parallel",
    "stable": "v1",
    "candidate": "v2",
    "experiment": "e2e-parallel",
    "timeout_s": CANDIDATE_TIMEOUT_S,
}
ROLLING: dict[str, Any] = {
    "kind": "canary_rolling",
    "stable": "v1",
    "candidate": "v2",
    "of": 4,
    "experiment": "e2e-rolling",
    "timeout_s": CANDIDATE_TIMEOUT_S,
}
REQUESTS = 2000
SCENARIO = ROOT / "docs/scenarios/nothing.yaml"
EXPLAINED_USERS = 50
POOL_DIFFERENCE_MS = 5.0  # of the model times of two pools with different load
SHADOW = {"kind": "shadow", "stable": "v1", "candidate": "v2"}
SINGLE = {"kind": "single", "stable": "v1"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Four replicas of v1, with classifiers that can be faulty."""
    document: dict[str, Any] = yaml.safe_load((CONFIGS / "base.yaml").read_text())
    document["applications"][0]["import_path"] = "tests.e2e.faulty_app:animals"
    scaling = deployment(document, "StablePool")["autoscaling_config"]
    scaling |= {"min_replicas": 4, "initial_replicas": 4, "max_replicas": 4}
    return document


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Path]:
    """Writes a deployment file or a rule."""
    folder = tmp_path_factory.mktemp("files")

    def write(document: dict[str, Any]) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return write


@pytest.fixture(scope="module")
def running(start: Any, base: dict[str, Any], file: Any) -> Any:
    os.environ["PYTHONPATH"] = str(ROOT)  # the replicas import tests.e2e.faulty_app
    try:
        yield start(file(base))
    finally:
        del os.environ["PYTHONPATH"]


@pytest.fixture
def service(running: Any, base: dict[str, Any], file: Any) -> Iterator[Any]:
    """The service in its initial state."""
    faults.write(running.home, faults.NONE)
    if running.http.get("/v1/rule").json()["rule"]["kind"] != "single":
        running.command("deploy", str(file(base)))
    yield running
    faults.write(running.home, faults.NONE)


def deployment(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(d for d in document["applications"][0]["deployments"] if d["name"] == name)


def set_rule(service: Any, file: Any, rule: dict[str, Any]) -> None:
    service.command("rule", "set", str(file({"rule": rule})))


def replicas(service: Any, pool: str = "StablePool") -> dict[str, dict[str, Any]]:
    """The replicas of a pool by name, as in `GET /v1/rule`."""
    pools = service.http.get("/v1/rule").json()["pools"]
    found = next(entry["replicas"] for entry in pools if entry["pool"] == pool)
    return {replica["replica"]: replica for replica in found}


def processes(
    service: Any, name: str = "StablePool", application: str = "animals"
) -> dict[str, int]:
    """The pid of each running replica of a deployment, by name."""
    facts = service.get_control("status")["applications"][application]["deployments"][name]
    return {r["replica"]: r["pid"] for r in facts["replicas"] if r["state"] == "RUNNING"}


def is_empty(service: Any, pool: str) -> bool:
    """Whether a pool has no replica, also none that starts or stops."""
    facts = service.get_control("status")["applications"]["animals"]["deployments"][pool]
    return not facts["target"] and not facts["replicas"]


def prediction_counts(service: Any, pool: str = "StablePool") -> Counter[tuple[str, str]]:
    """The number of predictions, by (replica, version)."""
    return Counter(
        {
            (name, version): count
            for name, replica in replicas(service, pool).items()
            for version, count in replica["answered"].items()
        }
    )


def serves_assigned_versions(service: Any, load: Load) -> bool:
    """Whether each replica serves only its assigned version."""
    before = prediction_counts(service)
    load.wait_for(50)
    assigned = {name: replica["version"] for name, replica in replicas(service).items()}
    return all(version == assigned[name] for name, version in prediction_counts(service) - before)


def split_versions(requests: list[SentRequest]) -> dict[str, set[str | None]]:
    """The versions that the split assigned, by user."""
    versions = defaultdict(set)
    for request in requests:
        if request.version_and_reason[1] == "split":
            versions[request.user].add(request.version_and_reason[0])
    return versions


def assigned_version(service: Any, experiment: str, share: float, user: str) -> str:
    """The version of a user, from the key of the home directory and the documented formula."""
    key = bytes.fromhex((service.home / "hash.key").read_text().strip())
    return "v2" if bucket(experiment, Pseudonymizer(key).pseudonym(user)) < share else "v1"


def test_rolling_updates_fail_no_request(service: Any, examples: Any) -> None:
    before = processes(service)
    with Load(examples, clients=16) as load:
        load.wait_for(100)
        for version, other in (("v2", "v1"), ("v1", "v2")):
            updated: set[str] = set()
            with service.in_background("update", version, "--method", "rolling") as update:
                while update.poll() is None:
                    versions = {n: replica["version"] for n, replica in replicas(service).items()}
                    updated_now = {name for name, held in versions.items() if held == version}
                    assert set(versions.values()) <= {version, other}
                    assert updated & versions.keys() <= updated_now  # no replica goes back
                    assert len(versions) >= 3  # one replica at a time is busy
                    updated |= updated_now
                    time.sleep(0.05)
            assert update.returncode == 0
            assert {replica["version"] for replica in replicas(service).values()} == {version}
            assert replicas(service).keys() == before.keys()
            assert {request.version_and_reason[0] for request in load.wait_for(50)} == {version}
            before_load = prediction_counts(service)
            load.wait_for(200)
            assert len(prediction_counts(service) - before_load) == 4  # every replica serves
    assert load.failed == []
    assert processes(service) == before  # in place


def test_a_rolling_canary_is_sticky_and_separates_the_versions(
    service: Any, file: Any, examples: Any
) -> None:
    before = processes(service)
    with Load(examples) as load:
        load.wait_for(50)
        for patched in (1, 2):
            set_rule(service, file, ROLLING | {"replicas": patched})
            eventually(lambda: serves_assigned_versions(service, load))
            start, first = len(load.requests), prediction_counts(service)
            load.wait_for(500, ("v1", "split"), ("v2", "split"))
            versions = {name: replica["version"] for name, replica in replicas(service).items()}
            assert Counter(versions.values()) == {"v1": 4 - patched, "v2": patched}
            assert all(
                version == versions[name] for name, version in prediction_counts(service) - first
            )
            assert processes(service) == before
            for user, seen in split_versions(load.requests[start:]).items():
                assert seen == {assigned_version(service, "e2e-rolling", patched / 4, user)}

        patched_names = [
            name for name, replica in replicas(service).items() if replica["version"] == "v2"
        ]
        killed = patched_names[0]
        start = len(load.requests)
        os.kill(before[killed], signal.SIGKILL)
        eventually(lambda: killed not in replicas(service))
        eventually(lambda: Counter(r["version"] for r in replicas(service).values())["v2"] == 2)
        load.wait_for(100)
        for user, seen in split_versions(load.requests[start:]).items():
            assert seen == {assigned_version(service, "e2e-rolling", 0.5, user)}
    assert load.failed == []
    others = {name: pid for name, pid in before.items() if name != killed}
    assert others.items() <= processes(service).items()


def test_users_of_a_parallel_canary_keep_the_candidate(
    service: Any, file: Any, examples: Any
) -> None:
    """No user gets v2 before its pool is ready; the stable pool does not change."""
    before = processes(service)
    with Load(examples, users=300) as load:
        for weight in (0.05, 0.1, 0.25, 0.5):
            start = len(load.requests)
            set_rule(service, file, PARALLEL | {"weight": weight})
            load.wait_for(300, ("v1", "split"), ("v2", "split"))
            for user in (f"user-{number}" for number in range(EXPLAINED_USERS)):
                plan = service.http.get("/v1/explain", headers={"X-User-Id": user}).json()
                assert plan["version"] == assigned_version(service, "e2e-parallel", weight, user)
            recent = load.wait_for(200)
            for user, seen in split_versions(recent).items():
                assert seen == {assigned_version(service, "e2e-parallel", weight, user)}
            assert {r.version_and_reason[1] for r in load.requests[start:]} <= {
                "static",
                "not_ready",
                "split",
            }
    first_v2_at: dict[str, float] = {}  # when v2 first served each user
    for request in load.requests:
        if request.version_and_reason == ("v2", "split"):
            first_v2_at.setdefault(request.user, request.ended_at)
    for request in load.requests:
        if request.version_and_reason == ("v1", "split"):
            assert request.started_at < first_v2_at.get(request.user, math.inf)
    assert load.failed == []
    assert processes(service) == before


def test_a_tag_selects_the_version(service: Any, file: Any, examples: Any) -> None:
    set_rule(service, file, PARALLEL | {"weight": 0})
    for tag, version in (("always", "v2"), ("never", "v1")):
        response = service.classify(examples["koala"], X_User_Id="anna", X_Canary=tag).json()
        assert (response["version"], response["reason"]) == (version, "tagged")


def test_stable_serves_as_fallback_of_a_killed_candidate(
    service: Any, file: Any, examples: Any
) -> None:
    set_rule(service, file, PARALLEL | {"weight": 0.5, "timeout_s": 2})
    with Load(examples, users=100) as load:
        load.wait_for(50, ("v2", "split"))
        start = len(load.requests)
        ((_, pid),) = processes(service, "CandidatePool").items()
        os.kill(pid, signal.SIGKILL)
        load.wait_for(20, ("v1", "fallback"))
        eventually(lambda: service.http.get("/v1/rule").json()["candidate"]["up"])
        load.wait_for(50, ("v2", "split"))
    assert load.failed == []
    for request in load.requests[start:]:
        version = assigned_version(service, "e2e-parallel", 0.5, request.user)
        expected = {("v1", "split")} if version == "v1" else {("v2", "split"), ("v1", "fallback")}
        assert request.version_and_reason in expected  # users of v2 get v2 or a fallback


def test_a_slower_candidate_is_reported_as_worse(service: Any, file: Any) -> None:
    """The interval of the difference contains the injected delay."""
    faults.write(service.home, faults.SLOWER)
    rule = {"weight": 0.5, "experiment": "e2e-slower", "settle": "5s"}
    set_rule(service, file, PARALLEL | rule)
    before = service.get_control("status")["recording"]["stored"]
    summary = service.json(
        "traffic", "--scenario", str(SCENARIO), "--requests", str(REQUESTS), "--clients", "4"
    )
    assert (summary["requests"], summary["failed"]) == (REQUESTS, 0)
    eventually(lambda: service.get_control("status")["recording"]["stored"] >= before + REQUESTS)
    arguments = ("report", "canary", "--experiment", "e2e-slower")
    eventually(lambda: service.json(*arguments)["settling"]["settling"] == 0)
    report = service.json(*arguments)
    assert not report["srm"]["invalid"]
    assert report["finding"] == "worse"
    latency, model = report["measures"][1:]
    assert (latency["measure"], model["measure"]) == ("mean latency", "mean model time")
    assert latency["finding"] == model["finding"] == "worse"
    low, high = model["interval"]
    assert low < faults.SLOWER_MS + POOL_DIFFERENCE_MS
    assert high > faults.SLOWER_MS - POOL_DIFFERENCE_MS
    assert low > POOL_DIFFERENCE_MS


def test_an_ab_test_affects_only_its_regions(service: Any, file: Any, examples: Any) -> None:
    rule = {
        "kind": "ab_test",
        "control": "v1",
        "treatment": "v2",
        "regions": ["australia-pacific"],
        "experiment": "e2e-preference",
        "timeout_s": CANDIDATE_TIMEOUT_S,
    }
    set_rule(service, file, rule)
    with Load(examples, X_Region="DE") as load:
        assert {r.version_and_reason for r in load.wait_for(200)} == {("v1", "not_targeted")}
    with Load(examples, users=1, clients=1, X_Region="FJ") as load:  # one client keeps the order
        draws = [r.version_and_reason for r in load.wait_for(400)]
    assert set(draws) == {("v1", "split"), ("v2", "split")}
    treatments = sum(version == "v2" for version, _ in draws)
    assert stats.binomtest(treatments, len(draws), 0.5).pvalue > 1e-6
    # Independent draws: half of the consecutive pairs are equal.
    equal = sum(one == other for one, other in pairwise(draws))
    assert stats.binomtest(equal, len(draws) - 1, 0.5).pvalue > 1e-6

    set_rule(service, file, rule | {"unit": "user", "experiment": "e2e-preference-of-users"})
    with Load(examples, users=40, X_Region="NZ") as load:
        versions_by_user = split_versions(load.wait_for(400))
    assert all(len(versions) == 1 for versions in versions_by_user.values())
    assert set.union(*versions_by_user.values()) == {"v1", "v2"}


def test_repeated_feedback_has_the_same_response(service: Any, examples: Any) -> None:
    prediction = service.classify(examples["cat"], X_User_Id="anna").json()["prediction_id"]
    body = {"prediction_id": prediction, "complaint": True, "rating": 2}
    responses = [service.http.post("/v1/feedback", json=body) for _ in range(3)]
    assert {(r.status_code, r.text) for r in responses} == {(200, responses[0].text)}
    forged = service.http.post("/v1/feedback", json=body | {"prediction_id": "forged"})
    assert (forged.status_code, forged.json()["code"]) == (404, "unknown_prediction")


def test_users_keep_their_version_while_pools_scale(
    service: Any, base: dict[str, Any], file: Any, examples: Any
) -> None:
    document = copy.deepcopy(base)
    deployment(document, "Ingress")["user_config"]["rule"] = PARALLEL | {
        "experiment": "e2e-scaling",
        "weight": 0.5,
    }
    for pool in ("StablePool", "CandidatePool"):
        deployment(document, pool)["autoscaling_config"] |= {
            "min_replicas": 1,
            "initial_replicas": 1,
            "max_replicas": 2,
            "target_ongoing_requests": 0.4,  # exceeded by 16 clients, not by one that pauses
            "downscale_delay_s": 6,
        }
    service.command("deploy", str(file(document)))

    def sizes() -> list[int]:
        return [len(processes(service, pool)) for pool in ("StablePool", "CandidatePool")]

    eventually(lambda: sizes() == [1, 1])
    with Load(examples, users=100, clients=1, pause_s=0.1) as load:
        load.wait_for(20, ("v2", "split"))
        with Load(examples, users=100, clients=16) as extra:
            eventually(lambda: sizes() == [2, 2])
            extra.wait_for(200, ("v2", "split"))
        eventually(lambda: sizes() == [1, 1])
        load.wait_for(20, ("v2", "split"))
    assert load.failed == extra.failed == []
    versions_by_user = split_versions(load.requests + extra.requests)
    assert set.union(*versions_by_user.values()) == {"v1", "v2"}
    assert all(len(versions) == 1 for versions in versions_by_user.values())


@pytest.mark.parametrize("fault", [faults.NONE, faults.SLOW, faults.BROKEN, "killed"])
def test_a_shadow_changes_no_prediction(service: Any, file: Any, examples: Any, fault: str) -> None:
    single = {
        name: service.classify(image).json()["probabilities"] for name, image in examples.items()
    }
    set_rule(service, file, SHADOW)
    if fault != "killed":
        faults.write(service.home, fault)
    before = copy_counts(service)
    with Load(examples, clients=4) as load:
        if fault == "killed":
            load.wait_for(50)
            for pid in processes(service, "CandidatePool").values():
                os.kill(pid, signal.SIGKILL)
        load.wait_for(200)
    assert load.failed == []
    for request in load.requests:
        assert request.version_and_reason == ("v1", "static")
        assert request.body["probabilities"] == pytest.approx(single[request.image], abs=1e-6)
    eventually(
        lambda: sum(copy_counts(service).values()) == sum(before.values()) + len(load.requests)
    )
    outcomes = copy_counts(service) - before
    if fault == faults.NONE:
        assert outcomes["copied"] > 0
        served = sum(
            n for (_, v), n in prediction_counts(service, "CandidatePool").items() if v == "v2"
        )
        assert served >= outcomes["copied"]
    if fault == faults.BROKEN:
        assert outcomes["copied"] == 0
        assert outcomes["failed"] > 0


def copy_counts(service: Any) -> Counter[str]:
    """The stored numbers of copied, failed and shed images."""
    return Counter(service.get_control("status")["recording"]["shadow"])


def test_a_shadow_with_an_empty_pool_sheds_every_copy(
    service: Any, file: Any, base: dict[str, Any], examples: Any
) -> None:
    """Deployed with Ray's own command; serve-app would scale up the pool."""
    fast_downscale = copy.deepcopy(base)
    deployment(fast_downscale, "CandidatePool")["autoscaling_config"]["downscale_delay_s"] = 1
    service.command("deploy", str(file(fast_downscale)))
    eventually(lambda: is_empty(service, "CandidatePool"))
    shadow = copy.deepcopy(fast_downscale)
    deployment(shadow, "Ingress")["user_config"]["rule"] = SHADOW
    service.serve_deploy(file(shadow))
    eventually(lambda: service.http.get("/v1/rule").json()["rule"]["kind"] == "shadow")
    before = copy_counts(service)
    with Load(examples, clients=4) as load:
        load.wait_for(200)
    assert load.failed == []
    assert {request.version_and_reason for request in load.requests} == {("v1", "static")}
    eventually(lambda: copy_counts(service) - before == Counter(shed=len(load.requests)))
    assert is_empty(service, "CandidatePool")


def test_a_copy_is_made_for_a_client_that_disconnects(
    service: Any, file: Any, examples: Any
) -> None:
    set_rule(service, file, SHADOW)
    faults.write(service.home, faults.SLOW)
    before = copy_counts(service)
    served = 0  # on a busy machine, a response may be there before the client looks at its clock

    def is_copied() -> bool:
        nonlocal served
        try:
            service.http.post(
                "/v1/classify",
                content=examples["koala"],
                headers={"Content-Type": "image/png"},
                timeout=0.001,
            )
        except httpx.TimeoutException:
            pass
        else:
            served += 1
        # Some copies are shed, because the governor remembers earlier failures.
        return (copy_counts(service) - before)["copied"] - served >= 5

    eventually(is_copied)
    assert (copy_counts(service) - before)["failed"] == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"wieght": 0.1}, "rule.wieght"),
        ({"candidate": "v9"}, "rule.candidate is v9: the registry has v1, v2"),
        ({"weight": 0.6}, "rule.weight is 0.6: expected 0 to 0.5 for a canary"),
        ({"experiment": ""}, "rule.experiment"),
        ({"regions": ["atlantis"]}, "rule.regions.0 is 'atlantis'"),
        ({"unit": "session"}, "rule.experiment is e2e-parallel, which was used"),
        ({"stable": "v2", "candidate": "v1"}, "rule.stable is v2, but v1 is in force"),
    ],
)
def test_an_invalid_rule_is_rejected_and_keeps_the_rule_in_force(
    service: Any, file: Any, examples: Any, change: dict[str, Any], text: str
) -> None:
    before = service.http.get("/v1/rule").json()["rule_id"]
    rule = PARALLEL | {"weight": 0.1} | change
    assert text in service.command("rule", "set", str(file({"rule": rule})), fails=True)
    response = service.http.put(
        "/control/rule",
        json={"rule": rule, "actor": "test", "reason": ""},
        headers={"Authorization": f"Bearer {service.token}"},
    )
    assert (response.status_code, response.json()["code"]) == (422, "rejected_config")
    assert text in response.json()["detail"]
    assert service.http.get("/v1/rule").json()["rule_id"] == before
    assert service.classify(examples["cat"]).status_code == 200


def test_an_invalid_rule_from_rays_own_command_is_rejected(
    service: Any, base: dict[str, Any], file: Any, examples: Any
) -> None:
    """The rule reuses an experiment name with other versions, without the checks of serve-app."""
    document = copy.deepcopy(base)
    deployment(document, "Ingress")["user_config"]["rule"] = PARALLEL | {
        "stable": "v2",
        "candidate": "v1",
        "weight": 0.1,
    }
    with Load(examples, clients=2) as load:
        service.serve_deploy(file(document))
        eventually(lambda: service.http.get("/v1/rule").json()["rejected"])
        load.wait_for(20)
    rejected = service.http.get("/v1/rule").json()["rejected"]
    assert rejected["path"] == "rule.experiment"
    assert load.failed == []
    service.command("deploy", str(file(base)))


def test_a_rolling_restart_fails_no_request(
    service: Any, base: dict[str, Any], file: Any, examples: Any
) -> None:
    """Other resources of an actor need new processes, which replace the old ones one by one."""
    before = processes(service)
    restarting = copy.deepcopy(base)
    deployment(restarting, "StablePool")["ray_actor_options"] = {"num_cpus": 0.11}
    with Load(examples, clients=16) as load:
        load.wait_for(50)
        service.command("deploy", str(file(restarting)))
        eventually(
            lambda: len(processes(service)) == 4 and not before.keys() & processes(service).keys()
        )
        load.wait_for(50)
    assert load.failed == []


def test_recreate_measures_its_downtime(
    service: Any, file: Any, examples: Any, tmp_path: Path
) -> None:
    """Afterwards another version of a library is used; `control` stays available."""
    other = "11.3.0"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--no-deps"),
            *("--target", tmp_path, f"pillow=={other}"),
        ],
        check=True,
    )
    path = file({"env_vars": {"PYTHONPATH": f"{tmp_path}:{ROOT}"}})
    assert service.http.get("/v1/models/v2").json()["libraries"]["pillow"] != other
    with Load(examples, clients=4) as load:
        load.wait_for(20)
        output = service.command("update", "v2", "--method", "recreate", "--runtime-env", str(path))
        load.wait_for(20, ("v2", "static"))
    recreation = service.get_control("status")["recreation"]
    assert (recreation["phase"], recreation["is_upper_bound"]) == ("done", False)
    assert re.search(r"downtime \d", output)
    entry = service.json("audit")[0]
    refused = entry["details"].pop("refused_requests")
    assert entry["details"] == recreation
    assert 0 < refused <= len(load.failed)
    assert load.failed  # clients notice the downtime
    for request in load.failed:
        assert recreation["down_from_ms"] <= 1000 * request.ended_at
        # Old connections may fail once more just after new ones succeed.
        assert 1000 * request.started_at <= recreation["down_to_ms"] + 1000
    assert service.http.get("/v1/models/v2").json()["libraries"]["pillow"] == other
    assert service.json("revision", "list")[0]["number"] == recreation["revision"]


@pytest.mark.parametrize("moment", ["tearing_down", "building", "ready"])
def test_a_killed_controller_continues_its_recreation(service: Any, moment: str) -> None:
    """The command keeps following it, and the audit log says what happened."""
    (controller,) = processes(service, "Controller", "control").values()
    version = "v2" if moment == "building" else "v1"

    def has_come() -> bool:
        recreation = service.get_control("status")["recreation"]
        if moment == "ready":
            return bool(recreation["phase"] == "building" and service.is_ready())
        return bool(recreation["phase"] == moment)

    before = service.get_control("status")["revision"]
    with service.in_background("update", version, "--method", "recreate", "--yes") as update:
        eventually(lambda: service.get_control("status")["revision"] > before)
        eventually(has_come)
        psutil.Process(controller).kill()
        assert update.wait(COMMAND_TIMEOUT_S) == 0
    status = service.get_control("status")
    assert (status["in_force"], status["recreation"]["phase"]) == (True, "done")
    assert status["recreation"]["is_upper_bound"] is True
    assert 0 < status["recreation"]["downtime_s"] < COMMAND_TIMEOUT_S
    end, continued = service.json("audit", "--limit", "2")
    assert (end["details"]["phase"], end["reason"]) == ("done", f"recreate update to {version}")
    assert continued["reason"] == "continued: the Controller was restarted"
    assert service.http.get("/v1/rule").json()["rule"]["stable"] == version


def test_a_promotion_and_a_canary_survive_a_restart(service: Any, file: Any, examples: Any) -> None:
    """Each user also keeps their version."""
    service.command("update", "v2", "--method", "rolling")
    assert service.classify(examples["koala"]).json()["version"] == "v2"
    canary = {"stable": "v2", "candidate": "v1", "experiment": "e2e-restart", "weight": 0.25}
    set_rule(service, file, PARALLEL | canary)
    users = [f"user-{number}" for number in range(100)]

    def versions() -> list[str]:
        eventually(lambda: service.http.get("/v1/rule").json()["effective_weight"] == 0.25)
        return [service.classify(examples["cat"], X_User_Id=u).json()["version"] for u in users]

    before = versions()
    number = service.get_control("status")["revision"]
    raylets = [p for p in psutil.process_iter(["name"]) if p.info["name"] == "raylet"]
    service.command("down")
    assert raylets
    assert not any(identify(raylet).find() for raylet in raylets)
    assert f"Starting revision {number}, in force since" in service.command("up", "--detach")
    assert versions() == before
    assert set(before) == {"v1", "v2"}
    assert service.classify(examples["koala"]).json()["version"] == "v2"
    assert [r["number"] for r in service.json("revision", "list") if r["in_force"]] == [number]
