"""Every strategy on a real cluster, under load. The tests run in their order, on one service."""

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
from tests.e2e.load import Asked, Load
from tests.e2e.waiting import eventually

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "deploy_configs"
PATIENCE_S = 15  # with a candidate: that this machine is busy is no failure of it
PARALLEL: dict[str, Any] = {
    "kind": "canary_parallel",
    "stable": "v1",
    "candidate": "v2",
    "experiment": "e2e-parallel",
    "timeout_s": PATIENCE_S,
}
ROLLING: dict[str, Any] = {
    "kind": "canary_rolling",
    "stable": "v1",
    "candidate": "v2",
    "of": 4,
    "experiment": "e2e-rolling",
    "timeout_s": PATIENCE_S,
}
REQUESTS = 2000
SLOWER_V2 = ROOT / "docs/scenarios/slower-v2.yaml"
EXPLAINED = 50  # users
POOLS_DIFFER_MS = 5.0  # in model time, for one has more to do
SHADOW = {"kind": "shadow", "stable": "v1", "candidate": "v2"}
SINGLE = {"kind": "single", "stable": "v1"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Four replicas of v1, over classifiers that can be made faulty."""
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
    os.environ["PYTHONPATH"] = str(ROOT)  # the replicas import this package's faults
    try:
        yield start(file(base))
    finally:
        del os.environ["PYTHONPATH"]


@pytest.fixture
def service(running: Any, base: dict[str, Any], file: Any) -> Iterator[Any]:
    """As it was at the start."""
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
    """What each replica says of itself."""
    pools = service.http.get("/v1/rule").json()["pools"]
    found = next(entry["replicas"] for entry in pools if entry["pool"] == pool)
    return {replica["replica"]: replica for replica in found}


def processes(service: Any, pool: str = "StablePool") -> dict[str, int]:
    """Replica to pid."""
    facts = service.control("status")["applications"]["animals"]["deployments"][pool]
    return {r["replica"]: r["pid"] for r in facts["replicas"] if r["state"] == "RUNNING"}


def is_empty(service: Any, pool: str) -> bool:
    """Whether it has no replica, nor one that comes or goes."""
    facts = service.control("status")["applications"]["animals"]["deployments"][pool]
    return not facts["target"] and not facts["replicas"]


def answered(service: Any, pool: str = "StablePool") -> Counter[tuple[str, str]]:
    """(replica, version) to how many images."""
    return Counter(
        {
            (name, version): count
            for name, replica in replicas(service, pool).items()
            for version, count in replica["answered"].items()
        }
    )


def is_strict(service: Any, load: Load) -> bool:
    """Whether each replica answers with the version that it holds, and no other."""
    before = answered(service)
    load.wait_for(50)
    held = {name: replica["version"] for name, replica in replicas(service).items()}
    return all(version == held[name] for name, version in answered(service) - before)


def split(asked: list[Asked]) -> dict[str, set[str | None]]:
    """User to the versions that the split gave."""
    versions = defaultdict(set)
    for request in asked:
        if request.given[1] == "split":
            versions[request.user].add(request.given[0])
    return versions


def assigned(service: Any, experiment: str, share: float, user: str) -> str:
    """By the home's key and the published formula."""
    key = bytes.fromhex((service.home / "hash.key").read_text().strip())
    return "v2" if bucket(experiment, Pseudonymizer(key).pseudonym(user)) < share else "v1"


def test_a_rolling_update_and_the_way_back_fail_nobody(service: Any, examples: Any) -> None:
    before = processes(service)
    with Load(examples, clients=16) as load:
        load.wait_for(100)
        for version, other in (("v2", "v1"), ("v1", "v2")):
            updated: set[str] = set()
            with service.in_background("update", version, "--method", "rolling") as update:
                while update.poll() is None:
                    seen = {name: held["version"] for name, held in replicas(service).items()}
                    holding = {name for name, held in seen.items() if held == version}
                    assert set(seen.values()) <= {version, other}
                    assert updated & seen.keys() <= holding  # none goes back
                    assert len(seen) >= 3  # one at a time is busy with its update
                    updated |= holding
                    time.sleep(0.05)
            assert update.returncode == 0
            assert {held["version"] for held in replicas(service).values()} == {version}
            assert replicas(service).keys() == before.keys()
            assert {given for given, _ in (a.given for a in load.wait_for(50))} == {version}
            busy = answered(service)
            load.wait_for(200)
            assert len(answered(service) - busy) == 4  # every replica answers
    assert load.failed == []
    assert processes(service) == before  # in place


def test_a_rolling_canary_keeps_the_versions_apart(service: Any, file: Any, examples: Any) -> None:
    before = processes(service)
    with Load(examples) as load:
        load.wait_for(50)
        for patched in (1, 2):
            set_rule(service, file, ROLLING | {"replicas": patched})
            eventually(lambda: is_strict(service, load))
            start, first = len(load.asked), answered(service)
            load.wait_for(500, ("v1", "split"), ("v2", "split"))
            versions = {name: replica["version"] for name, replica in replicas(service).items()}
            assert Counter(versions.values()) == {"v1": 4 - patched, "v2": patched}
            assert all(version == versions[name] for name, version in answered(service) - first)
            assert processes(service) == before
            for user, given in split(load.asked[start:]).items():
                assert given == {assigned(service, "e2e-rolling", patched / 4, user)}

        victims = [
            name for name, replica in replicas(service).items() if replica["version"] == "v2"
        ]
        start = len(load.asked)
        os.kill(before[victims[0]], signal.SIGKILL)
        eventually(lambda: victims[0] not in replicas(service))
        eventually(lambda: Counter(r["version"] for r in replicas(service).values())["v2"] == 2)
        load.wait_for(100)
        for user, given in split(load.asked[start:]).items():
            assert given == {assigned(service, "e2e-rolling", 0.5, user)}
    assert load.failed == []
    unharmed = {name: pid for name, pid in before.items() if name != victims[0]}
    assert unharmed.items() <= processes(service).items()


def test_a_parallel_canary_is_sticky_and_its_users_never_go_back(
    service: Any, file: Any, examples: Any
) -> None:
    """Nobody is sent before its pool is ready; the stable pool stays as it was."""
    before = processes(service)
    with Load(examples, users=300) as load:
        for weight in (0.05, 0.1, 0.25, 0.5):
            start = len(load.asked)
            set_rule(service, file, PARALLEL | {"weight": weight})
            load.wait_for(300, ("v1", "split"), ("v2", "split"))
            for user in (f"user-{number}" for number in range(EXPLAINED)):
                told = service.http.get("/v1/explain", headers={"X-User-Id": user}).json()
                assert told["version"] == assigned(service, "e2e-parallel", weight, user)
            now = load.wait_for(200)
            for user, given in split(now).items():
                assert given == {assigned(service, "e2e-parallel", weight, user)}
            assert {a.given[1] for a in load.asked[start:]} <= {"static", "not_ready", "split"}
    treated_at: dict[str, float] = {}  # when each user was first answered by v2
    for request in load.asked:
        if request.given == ("v2", "split"):
            treated_at.setdefault(request.user, request.ended)
    for request in load.asked:
        if request.given == ("v1", "split"):
            assert request.began < treated_at.get(request.user, math.inf)
    assert load.failed == []
    assert processes(service) == before


def test_a_tag_decides_for_a_request(service: Any, file: Any, examples: Any) -> None:
    set_rule(service, file, PARALLEL | {"weight": 0})
    for tag, version in (("always", "v2"), ("never", "v1")):
        answer = service.classify(examples["koala"], X_User_Id="anna", X_Canary=tag).json()
        assert (answer["version"], answer["reason"]) == (version, "tagged")


def test_stable_answers_for_a_candidate_that_was_killed(
    service: Any, file: Any, examples: Any
) -> None:
    set_rule(service, file, PARALLEL | {"weight": 0.5, "timeout_s": 2})
    with Load(examples, users=100) as load:
        load.wait_for(50, ("v2", "split"))
        start = len(load.asked)
        ((_, pid),) = processes(service, "CandidatePool").items()
        os.kill(pid, signal.SIGKILL)
        load.wait_for(20, ("v1", "fallback"))
        eventually(lambda: service.http.get("/v1/rule").json()["candidate"]["up"])
        load.wait_for(50, ("v2", "split"))
    assert load.failed == []
    for request in load.asked[start:]:
        version = assigned(service, "e2e-parallel", 0.5, request.user)
        expected = {("v1", "split")} if version == "v1" else {("v2", "split"), ("v1", "fallback")}
        assert request.given in expected  # none of v2's users is counted as v1's


def test_a_slower_candidate_is_reported_as_worse(service: Any, file: Any) -> None:
    """By as much as it was made slower, and what the pools differ in by themselves."""
    faults.write(service.home, faults.SLOWER)
    set_rule(service, file, PARALLEL | {"weight": 0.5, "experiment": "e2e-slower"})
    before = service.control("status")["recording"]["stored"]
    sent = service.json(
        "traffic", "--scenario", str(SLOWER_V2), "--requests", str(REQUESTS), "--clients", "4"
    )
    assert (sent["requests"], sent["failed"]) == (REQUESTS, 0)
    eventually(lambda: service.control("status")["recording"]["stored"] >= before + REQUESTS)
    report = service.json("report", "canary", "--experiment", "e2e-slower")
    assert not report["srm"]["invalid"]
    assert report["finding"] == "worse"
    latency, model = report["measures"][1:]
    assert (latency["measure"], model["measure"]) == ("mean latency", "mean model time")
    assert latency["finding"] == model["finding"] == "worse"
    low, high = model["interval"]
    assert low < faults.SLOWER_MS + POOLS_DIFFER_MS
    assert high > faults.SLOWER_MS - POOLS_DIFFER_MS
    assert low > POOLS_DIFFER_MS


def test_an_ab_test_stays_in_its_region(service: Any, file: Any, examples: Any) -> None:
    rule = {
        "kind": "ab_test",
        "control": "v1",
        "treatment": "v2",
        "regions": ["australia-pacific"],
        "experiment": "e2e-preference",
        "timeout_s": PATIENCE_S,
    }
    set_rule(service, file, rule)
    with Load(examples, X_Region="DE") as load:
        assert {a.given for a in load.wait_for(200)} == {("v1", "not_targeted")}
    with Load(examples, users=1, clients=1, X_Region="FJ") as load:  # in the order of the draws
        drawn = [a.given for a in load.wait_for(400)]
    assert set(drawn) == {("v1", "split"), ("v2", "split")}
    treated = sum(version == "v2" for version, _ in drawn)
    assert stats.binomtest(treated, len(drawn), 0.5).pvalue > 1e-6
    # Independent: of pairs that follow one another, half are alike.
    alike = sum(one == other for one, other in pairwise(drawn))
    assert stats.binomtest(alike, len(drawn) - 1, 0.5).pvalue > 1e-6

    set_rule(service, file, rule | {"unit": "user", "experiment": "e2e-preference-of-users"})
    with Load(examples, users=40, X_Region="NZ") as load:
        sticky = split(load.wait_for(400))
    assert all(len(versions) == 1 for versions in sticky.values())
    assert set.union(*sticky.values()) == {"v1", "v2"}


def test_feedback_is_kept_once(service: Any, examples: Any) -> None:
    prediction = service.classify(examples["cat"], X_User_Id="anna").json()["prediction_id"]
    body = {"prediction_id": prediction, "complaint": True, "rating": 2}
    answers = [service.http.post("/v1/feedback", json=body) for _ in range(3)]
    assert {(a.status_code, a.text) for a in answers} == {(200, answers[0].text)}
    forged = service.http.post("/v1/feedback", json=body | {"prediction_id": "forged"})
    assert (forged.status_code, forged.json()["code"]) == (404, "unknown_prediction")


def test_pools_scale_under_a_canary_and_nobody_changes_version(
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
            "target_ongoing_requests": 0.4,  # 16 clients keep a pool busy, one that rests does not
            "downscale_delay_s": 6,
        }
    service.command("deploy", str(file(document)))

    def sizes() -> list[int]:
        return [len(processes(service, pool)) for pool in ("StablePool", "CandidatePool")]

    eventually(lambda: sizes() == [1, 1])
    with Load(examples, users=100, clients=1, pause_s=0.1) as load:
        load.wait_for(20, ("v2", "split"))
        with Load(examples, users=100, clients=16) as more:
            eventually(lambda: sizes() == [2, 2])
            more.wait_for(200, ("v2", "split"))
        eventually(lambda: sizes() == [1, 1])
        load.wait_for(20, ("v2", "split"))
    assert load.failed == more.failed == []
    given = split(load.asked + more.asked)
    assert set.union(*given.values()) == {"v1", "v2"}
    assert all(len(versions) == 1 for versions in given.values())


@pytest.mark.parametrize("fault", [faults.NONE, faults.SLOW, faults.BROKEN, "killed"])
def test_a_shadow_changes_no_answer(service: Any, file: Any, examples: Any, fault: str) -> None:
    single = {
        name: service.classify(image).json()["probabilities"] for name, image in examples.items()
    }
    set_rule(service, file, SHADOW)
    if fault != "killed":
        faults.write(service.home, fault)
    settled = pairs(service)
    with Load(examples, clients=4) as load:
        if fault == "killed":
            load.wait_for(50)
            for pid in processes(service, "CandidatePool").values():
                os.kill(pid, signal.SIGKILL)
        load.wait_for(200)
    assert load.failed == []
    for request in load.asked:
        assert request.given == ("v1", "static")
        assert request.answer["probabilities"] == pytest.approx(single[request.image], abs=1e-6)
    eventually(lambda: sum(pairs(service).values()) == sum(settled.values()) + len(load.asked))
    outcomes = pairs(service) - settled
    if fault == faults.NONE:
        assert outcomes["copied"] > 0
        counted = sum(n for (_, v), n in answered(service, "CandidatePool").items() if v == "v2")
        assert counted >= outcomes["copied"]
    if fault == faults.BROKEN:
        assert outcomes["copied"] == 0
        assert outcomes["failed"] > 0


def pairs(service: Any) -> Counter[str]:
    """Copied, failed and shed, as the store has them."""
    return Counter(service.control("status")["recording"]["shadow"])


def test_a_shadow_of_a_pool_at_zero_sheds_every_copy(
    service: Any, file: Any, base: dict[str, Any], examples: Any
) -> None:
    """As Ray's own command deploys it: ours brings the pool up."""
    soon = copy.deepcopy(base)
    deployment(soon, "CandidatePool")["autoscaling_config"]["downscale_delay_s"] = 1
    service.command("deploy", str(file(soon)))
    eventually(lambda: is_empty(service, "CandidatePool"))
    alone = copy.deepcopy(soon)
    deployment(alone, "Ingress")["user_config"]["rule"] = SHADOW
    service.serve_deploy(file(alone))
    eventually(lambda: service.http.get("/v1/rule").json()["rule"]["kind"] == "shadow")
    settled = pairs(service)
    with Load(examples, clients=4) as load:
        load.wait_for(200)
    assert load.failed == []
    assert {request.given for request in load.asked} == {("v1", "static")}
    eventually(lambda: pairs(service) - settled == Counter(shed=len(load.asked)))
    assert is_empty(service, "CandidatePool")


def test_a_copy_outlives_a_client_that_hangs_up(service: Any, file: Any, examples: Any) -> None:
    set_rule(service, file, SHADOW)
    faults.write(service.home, faults.SLOW)
    settled = pairs(service)

    def hang_up() -> None:
        with pytest.raises(httpx.TimeoutException):
            service.http.post(
                "/v1/classify",
                content=examples["koala"],
                headers={"Content-Type": "image/png"},
                timeout=0.001,
            )

    def is_copied() -> bool:
        hang_up()  # some are shed, for the governor remembers what was before
        return (pairs(service) - settled)["copied"] >= 5

    eventually(is_copied)
    assert (pairs(service) - settled)["failed"] == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"wieght": 0.1}, "rule.wieght"),
        ({"candidate": "v9"}, "rule.candidate is v9: the registry has v1, v2"),
        ({"weight": 0.6}, "rule.weight is 0.6: a canary never exceeds 0.5"),
        ({"experiment": ""}, "rule.experiment"),
        ({"regions": ["atlantis"]}, "rule.regions.0 is 'atlantis'"),
        ({"stable": "v2", "candidate": "v1"}, "rule.experiment is e2e-parallel, which was used"),
    ],
)
def test_a_wrong_rule_is_rejected_and_harms_nobody(
    service: Any, file: Any, examples: Any, change: dict[str, Any], text: str
) -> None:
    before = service.http.get("/v1/rule").json()["rule_id"]
    rule = PARALLEL | {"weight": 0.1} | change
    assert text in service.command("rule", "set", str(file({"rule": rule})), fails=True)
    answer = service.http.put(
        "/control/rule",
        json={"rule": rule, "actor": "test", "reason": ""},
        headers={"Authorization": f"Bearer {service.token}"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "rejected_config")
    assert text in answer.json()["detail"]
    assert service.http.get("/v1/rule").json()["rule_id"] == before
    assert service.classify(examples["cat"]).status_code == 200


def test_rays_own_command_cannot_break_it_either(
    service: Any, base: dict[str, Any], file: Any, examples: Any
) -> None:
    """An experiment's name with other versions, sent past every check of ours."""
    bad = copy.deepcopy(base)
    deployment(bad, "Ingress")["user_config"]["rule"] = PARALLEL | {
        "stable": "v2",
        "candidate": "v1",
        "weight": 0.1,
    }
    with Load(examples, clients=2) as load:
        service.serve_deploy(file(bad))
        eventually(lambda: service.http.get("/v1/rule").json()["rejected"])
        load.wait_for(20)
    rejected = service.http.get("/v1/rule").json()["rejected"]
    assert rejected["path"] == "rule.experiment"
    assert load.failed == []
    service.command("deploy", str(file(base)))


def test_a_rolling_restart_fails_nobody(
    service: Any, base: dict[str, Any], file: Any, examples: Any
) -> None:
    """Another size of an actor takes new processes: each old one goes when a new one is there."""
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


def test_recreate_measures_its_gap(service: Any, file: Any, examples: Any, tmp_path: Path) -> None:
    """Another version of a library serves afterwards; `control` answers all the time."""
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
        said = service.command("update", "v2", "--method", "recreate", "--runtime-env", str(path))
        load.wait_for(20, ("v2", "static"))
    recreation = service.control("status")["recreation"]
    assert recreation["state"] == "done"
    assert re.search(r"nobody was answered for \d", said)
    eventually(lambda: recreation in [entry["details"] for entry in service.json("audit")])
    assert load.failed  # a gap is a gap
    for request in load.failed:
        assert recreation["from_ms"] <= 1000 * request.ended
        # Old connections may have one more failure just after others are answered again.
        assert 1000 * request.began <= recreation["to_ms"] + 1000
    assert service.http.get("/v1/models/v2").json()["libraries"]["pillow"] == other
    assert service.json("revision", "list")[0]["number"] == recreation["revision"]


def test_users_keep_their_version_when_everything_is_started_anew(
    service: Any, start: Any, base: dict[str, Any], file: Any, examples: Any
) -> None:
    set_rule(service, file, PARALLEL | {"weight": 0.25})
    users = [f"review_sampler-{number}" for number in range(100)]

    def versions() -> list[str]:
        eventually(lambda: service.http.get("/v1/rule").json()["effective_weight"] == 0.25)
        return [service.classify(examples["cat"], X_User_Id=u).json()["version"] for u in users]

    before = versions()
    raylets = [one for one in psutil.process_iter(["name"]) if one.info["name"] == "raylet"]
    service.command("down")
    assert raylets
    assert not any(identify(raylet).living() for raylet in raylets)
    start(file(base))
    set_rule(service, file, PARALLEL | {"weight": 0.25})
    assert versions() == before
    assert set(before) == {"v1", "v2"}
