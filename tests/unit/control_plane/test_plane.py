"""Changes of the control plane: each is whole, numbered and audited, whatever fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serve_app.control_plane.changes import (
    ConfigChange,
    Deploy,
    Restore,
    SetRule,
    Update,
)
from serve_app.deployment.config import user_configs
from serve_app.deployment.names import INGRESS
from serve_app.errors import (
    BadConfig,
    NoSuchRevision,
    NotReady,
    Problem,
    RejectedConfig,
    Superseded,
    UpdateInProgress,
)
from serve_app.rules.plan import Pool
from serve_app.store.audit import NewAuditEntry
from serve_app.store.errors import StoreError
from serve_app.store.recreations import Phase, Recreation
from serve_app.store.revisions import NewRevision, RevisionKind, RevisionState
from tests.unit.control_plane.conftest import (
    FakeProbe,
    Killed,
    Machine,
    NeverBack,
    SteppedPlane,
    Steps,
    shipped,
)
from tests.unit.service import PARALLEL, SINGLE

BY_ANNA: dict[str, Any] = {"actor": "anna", "reason": "a test"}
CHANGES: dict[str, ConfigChange] = {
    "deploy": Deploy(document=shipped("shadow"), **BY_ANNA),
    "rule": SetRule(rule=PARALLEL, **BY_ANNA),
    "update": Update(version="v2", method="rolling", **BY_ANNA),
    "recreate": Update(version="v2", method="recreate", **BY_ANNA),
    "restore": Restore(revision=1, **BY_ANNA),
}


def stable_version(machine: Machine) -> str:
    version: str = user_configs(machine.cluster.document)[Pool.STABLE]["version"]
    return version


async def settle(plane: SteppedPlane) -> None:
    """What the chores do, until a recreation is over."""
    await plane.recover()
    while plane._recreator.is_running:
        await asyncio.sleep(0)
    await plane.record_outside_change()
    await plane.record_convergence()


def check_consistency(machine: Machine) -> None:
    """The cluster has the latest revision, and each revision is numbered and audited once."""
    revisions = machine.store.revisions(100)[::-1]
    assert [revision.number for revision in revisions] == list(range(1, len(revisions) + 1))
    assert {revision.state for revision in revisions} <= {RevisionState.DEPLOYED}
    latest = machine.cluster.normalize(revisions[-1].document)["applications"]
    assert machine.cluster.normalize(machine.cluster.document)["applications"] == latest
    ended = [
        entry.details["revision"]
        for entry in machine.store.audit(100)
        if entry.details.get("phase") in (None, "done")
    ]
    assert sorted(ended) == [revision.number for revision in revisions]


@pytest.mark.parametrize("name", CHANGES)
class TestEveryChange:
    def test_it_is_deployed_numbered_and_audited(self, machine: Machine, name: str) -> None:
        async def scenario(plane: SteppedPlane) -> int:
            if name == "restore":
                await plane.apply(CHANGES["update"])
            applied = await plane.apply(CHANGES[name])
            await settle(plane)
            return applied.number

        number = machine.run(scenario)
        assert number == (3 if name == "restore" else 2)
        revision = machine.store.revision(number)
        assert revision
        assert (revision.kind, revision.actor, revision.reason) == (
            RevisionKind(name),
            "anna",
            "a test",
        )
        assert revision.in_force_at_ms is not None
        assert machine.audit[-1] == (name, "anna", "a test")
        check_consistency(machine)

    def test_a_kill_at_any_step_leaves_it_whole_or_not_made(
        self, machine: Machine, tmp_path_factory: pytest.TempPathFactory, name: str
    ) -> None:
        def prepare(target: Machine) -> None:
            target.run(settle)
            if name == "restore":
                target.run(lambda plane: plane.apply(CHANGES["update"]))

        async def until_killed(plane: SteppedPlane) -> None:
            await plane.apply(CHANGES[name])
            await settle(plane)

        async def attempt(target: Machine, kill_at: int) -> bool:
            try:
                await until_killed(target.start(Steps(kill_at=kill_at)))
            except Killed:
                return True
            return False

        numbers = set()
        for kill_at in range(1, 100):
            target = Machine(tmp_path_factory.mktemp("machine"))
            prepare(target)
            before = len(target.store.revisions(100))
            was_killed = asyncio.run(attempt(target, kill_at))
            target.run(settle)
            check_consistency(target)
            numbers.add(len(target.store.revisions(100)) - before)
            target.store.close()
            if not was_killed:
                break
        assert not was_killed
        assert kill_at > 6
        assert numbers == {0, 1}

    def test_a_failure_at_any_step_is_reported_or_mended(
        self, machine: Machine, tmp_path_factory: pytest.TempPathFactory, name: str
    ) -> None:
        async def attempt(target: Machine, fail_at: int) -> tuple[str, bool]:
            """The error of the change, and whether a step of it failed."""
            steps = Steps(fail_at=fail_at)
            plane = target.start(steps)
            try:
                await plane.apply(CHANGES[name])
                report = ""
            except (NotReady, RejectedConfig) as exc:
                report = str(exc)
            await asyncio.gather(*plane._tasks._tasks, return_exceptions=True)
            has_failed, steps.fail_at = steps.count >= fail_at, None
            await settle(plane)  # the same process goes on
            return report, has_failed

        reports = set()
        for fail_at in range(1, 100):
            target = Machine(tmp_path_factory.mktemp("machine"))
            target.run(settle)
            if name == "restore":
                target.run(lambda plane: plane.apply(CHANGES["update"]))
            report, has_failed = asyncio.run(attempt(target, fail_at))
            check_consistency(target)
            target.store.close()
            reports.add(report)
            if not has_failed:
                break
        assert not has_failed
        assert "the disk is full" in reports
        assert "" in reports

    def test_a_change_of_a_cancelled_caller_completes(self, machine: Machine, name: str) -> None:
        async def scenario(plane: SteppedPlane) -> None:
            if name == "restore":
                await plane.apply(CHANGES["update"])
            call = asyncio.create_task(plane.apply(CHANGES[name]))
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            while machine.audit[-1][0] != name:
                await asyncio.sleep(0.001)

        machine.run(scenario)
        check_consistency(machine)


class TestRejections:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (SetRule(rule=PARALLEL | {"weight": 0.6}, **BY_ANNA), "rule.weight is 0.6: "),
            (SetRule(rule={"kind": "guess"}, **BY_ANNA), "rule.kind is 'guess': expected one of"),
            (Update(version="v9", method="rolling", **BY_ANNA), "rule.stable is v9: the registry"),
            (Update(version="v9", method="recreate", **BY_ANNA), "rule.stable is v9: the"),
            (
                SetRule(rule=SINGLE | {"stable": "v2"}, **BY_ANNA),
                "rule.stable is v2, but v1 is in force: all users would change version.",
            ),
            (Deploy(document={"applications": []}, **BY_ANNA), "applications leaves out 'animals'"),
        ],
        ids=lambda value: value if isinstance(value, str) else type(value).__name__,
    )
    def test_a_rejected_change_deploys_nothing(
        self, machine: Machine, change: ConfigChange, message: str
    ) -> None:
        async def scenario(plane: SteppedPlane) -> None:
            for attempt in (plane.preview, plane.apply):
                with pytest.raises(RejectedConfig) as caught:
                    await attempt(change)
                assert str(caught.value).startswith(message)

        machine.run(scenario)
        assert machine.cluster.deployed == []
        assert len(machine.store.revisions(10)) == 1

    def test_another_stable_version_is_accepted_if_said_so(self, machine: Machine) -> None:
        rule = SINGLE | {"stable": "v2"}
        machine.run(lambda plane: plane.apply(SetRule(rule=rule, change_stable=True, **BY_ANNA)))
        assert stable_version(machine) == "v2"

    def test_a_change_without_a_data_plane_is_rejected(self, machine: Machine) -> None:
        machine.cluster.document["applications"] = [
            a for a in machine.cluster.document["applications"] if a["name"] == "control"
        ]

        async def scenario(plane: SteppedPlane) -> None:
            for name in ("rule", "update", "recreate"):
                with pytest.raises(RejectedConfig, match="have no 'animals'"):
                    await plane.apply(CHANGES[name])

        machine.run(scenario)
        assert machine.cluster.deployed == []

    def test_an_unknown_revision_is_not_found(self, machine: Machine) -> None:
        async def scenario(plane: SteppedPlane) -> None:
            with pytest.raises(NoSuchRevision):
                await plane.apply(Restore(revision=9, **BY_ANNA))
            with pytest.raises(NoSuchRevision):
                await plane.revision(9)

        machine.run(scenario)

    def test_a_configuration_that_serve_rejects_is_recorded_as_failed(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next change is not stopped by it."""
        machine.cluster.failures = [BadConfig("applications", "are rejected by Serve: no")]

        async def scenario(plane: SteppedPlane) -> None:
            with pytest.raises(RejectedConfig, match="rejected by Serve"):
                await plane.apply(CHANGES["rule"])
            assert (await plane.apply(CHANGES["rule"])).number == 3

        machine.run(scenario)
        states = [revision.state for revision in machine.store.revisions(10)]
        assert states == [RevisionState.DEPLOYED, RevisionState.FAILED, RevisionState.DEPLOYED]

    def test_a_change_of_another_base_is_superseded(self, machine: Machine) -> None:
        async def scenario(plane: SteppedPlane) -> None:
            seen = (await plane.preview(CHANGES["rule"])).base_revision
            assert seen == 1
            await plane.apply(CHANGES["update"])
            with pytest.raises(Superseded, match="revision 2 was deployed after revision 1"):
                await plane.apply(CHANGES["rule"].model_copy(update={"base_revision": seen}))

        machine.run(scenario)
        assert stable_version(machine) == "v2"


class TestUnreachableServe:
    def test_a_recorded_change_is_deployed_when_serve_answers(self, machine: Machine) -> None:
        machine.cluster.failures = [NotReady("Serve cannot be reached")]

        async def scenario(plane: SteppedPlane) -> None:
            with pytest.raises(NotReady, match="recorded as revision 2, and is deployed when"):
                await plane.apply(CHANGES["update"])
            await settle(plane)

        machine.run(scenario)
        assert stable_version(machine) == "v2"
        check_consistency(machine)

    def test_the_next_change_waits_for_it(self, machine: Machine) -> None:
        machine.cluster.failures = [NotReady("no"), NotReady("no")]
        rule = PARALLEL | {"stable": "v2", "candidate": "v1"}

        async def scenario(plane: SteppedPlane) -> None:
            with pytest.raises(NotReady, match="the change is recorded as revision 2"):
                await plane.apply(CHANGES["update"])
            with pytest.raises(NotReady, match=r"revision 2 is recorded .* nothing else was done"):
                await plane.apply(CHANGES["rule"])
            assert (await plane.apply(SetRule(rule=rule, **BY_ANNA))).number == 3

        machine.run(scenario)
        check_consistency(machine)


class TestOutsideChanges:
    def test_a_deployment_with_rays_command_becomes_a_revision(self, machine: Machine) -> None:
        machine.run(settle)
        machine.cluster.deploy_outside(shipped("rolling"))
        machine.run(settle)
        newest = machine.store.revisions(1)[0]
        assert (newest.number, newest.kind, newest.actor) == (2, RevisionKind.OUTSIDE, "outside")
        assert newest.in_force_at_ms is not None
        assert machine.audit[-1][0] == "outside"

    @pytest.mark.parametrize("how", ["deleted", "being deleted", "without configuration"])
    def test_the_end_of_the_service_is_not_a_revision(self, machine: Machine, how: str) -> None:
        machine.run(settle)
        applications = machine.cluster.document["applications"]
        if how == "deleted":
            machine.cluster.document["applications"] = [
                a for a in applications if a["name"] == "control"
            ]
        elif how == "being deleted":
            machine.cluster.deploy_outside(shipped("rolling"))
            machine.cluster._is_deleting = True
        else:  # Serve does not report the configuration at once
            real = machine.cluster.normalize
            machine.cluster.normalize = lambda document: {  # type: ignore[method-assign]
                **real(document),
                "applications": [a for a in document["applications"] if a["name"] == "control"],
            }
        machine.run(settle)
        assert len(machine.store.revisions(10)) == 1

    def test_an_outside_change_shows_as_not_recorded(self, machine: Machine) -> None:
        async def scenario(plane: SteppedPlane) -> None:
            machine.cluster.deploy_outside(shipped("rolling"))
            status = await plane.status()
            assert [item["code"] for item in status["lacking"]] == ["not_recorded"]
            await plane.record_outside_change()
            assert (await plane.status())["in_force"]

        machine.run(scenario)

    def test_a_configuration_without_our_checks_is_recorded_once(self, machine: Machine) -> None:
        """Serve ignores keys that we reject."""
        document = shipped("rolling")
        document["applications"][0]["import_path"] = "rejected"
        machine.run(settle)
        normalize = machine.cluster.normalize
        machine.cluster.deploy_outside(document)

        def keep(found: dict[str, Any]) -> dict[str, Any]:
            return found if found is machine.cluster.document else normalize(found)

        machine.cluster.normalize = keep  # type: ignore[method-assign, assignment]
        for _ in range(3):
            machine.run(settle)
        assert [revision.number for revision in machine.store.revisions(10)] == [2, 1]
        assert [action for action, _, _ in machine.audit] == ["outside", "outside"]

    def test_a_change_is_compared_with_an_outside_change_first(self, machine: Machine) -> None:
        """It is within a second, so that no chore has recorded it."""

        async def scenario(plane: SteppedPlane) -> None:
            seen = (await plane.preview(CHANGES["rule"])).base_revision
            machine.cluster.deploy_outside(shipped("shadow"))
            with pytest.raises(Superseded):
                await plane.apply(CHANGES["rule"].model_copy(update={"base_revision": seen}))

        machine.run(scenario)
        assert machine.store.revisions(1)[0].kind is RevisionKind.OUTSIDE


class TestConvergence:
    def test_the_status_records_that_a_revision_is_in_force(self, machine: Machine) -> None:
        """A start right after it must find it."""

        async def scenario(plane: SteppedPlane) -> None:
            await plane.apply(CHANGES["update"])
            assert (await plane.status())["in_force"]

        machine.run(scenario)
        (latest,) = machine.store.revisions(1, in_force=True)
        assert latest.number == 2

    def test_a_revision_that_is_deployed_meanwhile_is_not_marked(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def scenario(plane: SteppedPlane) -> None:
            write = plane.write

            async def overtaken(function: Any, *args: Any) -> Any:
                result = await write(function, *args)
                if function.__name__ == "set_in_force" and plane._journal.latest.number == 1:  # type: ignore[union-attr]
                    await plane.apply(CHANGES["update"])
                return result

            monkeypatch.setattr(plane._journal, "_write", overtaken)
            await plane.record_convergence()
            monkeypatch.setattr(plane._journal, "_write", write)
            await plane.record_convergence()

        machine.run(scenario)
        in_force = machine.store.revisions(10, in_force=True)
        assert [revision.number for revision in in_force] == [2, 1]


class TestRecreation:
    def test_changes_are_rejected_and_progress_is_shown(self, machine: Machine) -> None:
        machine.cluster.deletes_slowly = True

        async def scenario(plane: SteppedPlane) -> None:
            await plane.apply(CHANGES["recreate"])
            with pytest.raises(UpdateInProgress):
                await plane.apply(CHANGES["rule"])
            status = await plane.status()
            assert (status["in_force"], status["failed"], status["troubles"]) == (False, False, [])
            assert [item["message"] for item in status["lacking"]] == [
                "recreating the data plane with v2: tearing down"
            ]
            await plane.record_outside_change()  # not a revision
            machine.cluster.finish_deletion()
            await settle(plane)
            status = await plane.status()
            assert (status["in_force"], status["revision"]) == (True, 2)
            assert status["recreation"]["downtime_s"] == 8.43
            assert status["recreation"]["is_upper_bound"] is False

        machine.run(scenario)
        assert [bool(user_configs(d)) for d in machine.cluster.deployed] == [False, True]
        assert machine.store.audit(1)[0].details["refused_requests"] == 120
        check_consistency(machine)

    def test_a_restarted_process_continues_and_says_so(self, machine: Machine) -> None:
        machine.cluster.deletes_slowly = True

        async def until_killed(plane: SteppedPlane) -> None:
            await plane.apply(CHANGES["recreate"])
            await asyncio.sleep(0.01)

        machine.run(until_killed)
        recreation = machine.store.latest_recreation()
        assert recreation
        assert recreation.phase is Phase.TEARING_DOWN
        machine.cluster.finish_deletion()
        machine.run(settle)
        recreation = machine.store.latest_recreation()
        assert recreation
        assert (recreation.phase, recreation.is_upper_bound) == (Phase.DONE, True)
        assert machine.audit[-2:] == [
            ("recreate", "anna", "continued: the Controller was restarted"),
            ("recreate", "anna", "a test"),
        ]

    def test_the_probe_asks_the_address_that_serve_has(self, machine: Machine) -> None:
        """Serve takes other http_options at its next start only."""
        urls: list[str] = []

        def create_probe(url: str, recreation: Recreation) -> FakeProbe:
            urls.append(url)
            return FakeProbe(url, recreation)

        async def scenario(plane: SteppedPlane) -> None:
            document = shipped("base")
            del document["http_options"]
            await plane.apply(Deploy(document=document, **BY_ANNA))
            plane._recreator._create_probe = create_probe
            machine.cluster.document["http_options"] = {"host": "127.0.0.1", "port": 8000}
            await plane.apply(CHANGES["recreate"])
            await settle(plane)

        machine.run(scenario)
        assert urls == ["http://127.0.0.1:8000"]

    def test_a_recreation_of_the_same_configuration_is_a_revision(self, machine: Machine) -> None:
        """Its actor and its reason are in the audit log."""

        async def scenario(plane: SteppedPlane) -> None:
            await plane.apply(CHANGES["update"])
            await plane.apply(
                CHANGES["recreate"].model_copy(update={"actor": "bob", "reason": "it leaks"})
            )
            await settle(plane)

        machine.run(scenario)
        assert machine.store.revisions(1)[0].kind is RevisionKind.RECREATE
        assert machine.audit[-1] == ("recreate", "bob", "it leaks")
        check_consistency(machine)

    def test_a_preview_meanwhile_says_so(self, machine: Machine) -> None:
        machine.cluster.deletes_slowly = True

        async def scenario(plane: SteppedPlane) -> None:
            await plane.apply(CHANGES["recreate"])
            with pytest.raises(UpdateInProgress):
                await plane.preview(CHANGES["rule"])

        machine.run(scenario)

    def test_a_later_revision_ends_an_unfinished_one(self, machine: Machine) -> None:
        """It must not be undone when the Controller restarts."""
        machine.run(settle)
        new = NewRevision(RevisionKind.RECREATE, shipped("rolling"), "anna", "a test")
        machine.store.start_recreation(new, "v2", at_ms=1)
        entry = NewAuditEntry("rule", "bob", "", {"revision": 3})
        machine.store.add_revision(NewRevision(RevisionKind.RULE, shipped("base"), "bob", ""), 2)
        machine.store.settle_revision(3, RevisionState.DEPLOYED, entry, 2)
        machine.run(settle)
        recreation = machine.store.latest_recreation()
        assert recreation
        assert (recreation.phase, recreation.message) == (
            Phase.FAILED,
            "revision 3 was deployed meanwhile",
        )
        assert stable_version(machine) == "v1"

    def test_an_unexpected_error_ends_it(self, machine: Machine) -> None:
        def fail(*_: Any) -> Any:
            raise ValueError("a port\0is missing")

        async def scenario(plane: SteppedPlane) -> None:
            plane._recreator._create_probe = fail
            await plane.apply(CHANGES["recreate"])
            await settle(plane)
            await plane.apply(CHANGES["rule"].model_copy(update={"change_stable": True}))

        machine.run(scenario)
        recreation = machine.store.latest_recreation()
        assert recreation
        assert (recreation.phase, recreation.message) == (Phase.FAILED, "a portis missing")

    def test_a_failed_build_ends_the_recreation_at_once(self, machine: Machine) -> None:
        async def scenario(plane: SteppedPlane) -> None:
            machine.cluster.statuses["animals"] = "DEPLOY_FAILED"
            machine.cluster.messages["animals"] = "no module named koalas"
            plane._recreator._create_probe = NeverBack
            await plane.apply(CHANGES["recreate"])
            await settle(plane)
            status = await plane.status()
            assert status["recreation"]["phase"] == "failed"
            assert "no module named koalas" in status["recreation"]["message"]
            assert status["failed"]
            machine.cluster.statuses.clear()
            assert (await plane.apply(Restore(revision=1, **BY_ANNA))).number == 3

        machine.run(scenario)

    def test_the_end_is_recorded_when_the_store_is_back(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failures = [StoreError("full"), StoreError("full")]
        save = machine.store.save_recreation

        def fail_twice(*args: Any) -> None:
            if args[0].is_over and failures:
                raise failures.pop()
            save(*args)

        monkeypatch.setattr(machine.store, "save_recreation", fail_twice)

        async def scenario(plane: SteppedPlane) -> None:
            await plane.apply(CHANGES["recreate"])
            await settle(plane)

        machine.run(scenario)
        assert failures == []
        check_consistency(machine)


class TestReading:
    def test_the_status_names_revision_and_applications(self, machine: Machine) -> None:
        status = machine.run(lambda plane: plane.status())
        assert (status["in_force"], status["lacking"], status["revision"]) == (True, [], 1)
        assert set(status["applications"]) == {"animals", "control"}
        assert status["recording"]["stored"] == 0

    def test_revisions_say_kind_rule_and_which_is_in_force(self, machine: Machine) -> None:
        async def scenario(plane: SteppedPlane) -> list[dict[str, Any]]:
            await plane.record_convergence()
            machine.cluster.is_frozen = True
            await plane.apply(CHANGES["rule"])
            await plane.record_convergence()
            frozen = await plane.revisions(10)
            machine.cluster.is_frozen = False
            await plane.apply(CHANGES["rule"])  # the same document: no new revision
            await plane.record_convergence()
            return [*frozen, *(await plane.revisions(10))]

        frozen, first, rule, start = machine.run(scenario)
        assert [r["in_force"] for r in (frozen, first, rule, start)] == [False, False, True, False]
        assert (frozen["in_force_at_ms"], start["in_force_at_ms"] is None) == (None, False)
        assert (rule["number"], rule["kind"], rule["state"]) == (2, "rule", "deployed")
        assert rule["rule"] == {
            "kind": "canary_parallel",
            "stable": "v1",
            "candidate": "v2",
            "share": 0.3,
            "experiment": "koala-canary",
            "sentence": "30 % of users get v2, all others v1",
        }
        assert "document" not in rule

    def test_a_revision_has_its_document(self, machine: Machine) -> None:
        revision = machine.run(lambda plane: plane.revision(1))
        assert user_configs(revision["document"])[INGRESS] == {"rule": SINGLE}
        assert machine.run(lambda plane: plane.deployment()) == revision["document"]

    def test_an_unreachable_serve_is_a_problem(self, machine: Machine) -> None:
        async def scenario(plane: SteppedPlane) -> None:
            machine.cluster.state_failure = NotReady("Serve cannot be reached")
            with pytest.raises(Problem):
                await plane.status()

        machine.run(scenario)
