"""The Controller with a fake Serve."""

from __future__ import annotations

import asyncio
import copy
import gc
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from serve_app.clock import now_ms
from serve_app.deployment import config
from serve_app.deployment.apply_rule import without_data_plane
from serve_app.errors import AlreadyReviewed, BadConfig, UpdateInProgress
from serve_app.home import DATABASE_VARIABLE, HOME_VARIABLE
from serve_app.lifecycle.up import BASE
from serve_app.recording.batch import Batch
from serve_app.store.errors import StoreError
from tests.unit.recording.fakes import kept_image
from tests.unit.service import PARALLEL, SINGLE

with warnings.catch_warnings():  # deprecated pydantic features in Serve's modules
    warnings.simplefilter("ignore")
    from serve_app.serving import controller as controller_module
    from serve_app.serving import serve_config
    from serve_app.serving.controller import Controller
    from serve_app.serving.recreation import Progress


# `serve_app.deployment.scaling` explains why the field is set.
pytestmark = pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The configurations sent to a Serve that runs only the control plane."""
    document = without_data_plane(config.read(BASE))
    details = {
        "applications": {"control": {"deployed_app_config": document["applications"][0]}},
        "http_options": document["http_options"],
    }
    deployed: list[Any] = []
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    monkeypatch.setattr(serve_config, "details", lambda: details)
    monkeypatch.setattr(serve_config, "deploy", deployed.append)
    monkeypatch.setattr(controller_module, "join_serve_log", lambda: None)
    monkeypatch.delattr(Controller, "__del__")  # Serve awaits it
    gc.freeze()  # a faster collection at the end
    yield deployed
    gc.collect()  # a leaked Controller fails this test, not a later one
    gc.unfreeze()


@pytest.mark.parametrize("change", ["rule", "rolling", "recreate", "with a key"])
def test_changes_without_a_data_plane_are_rejected(deployed: list[Any], change: str) -> None:
    async def scenario() -> None:
        controller = Controller()
        try:
            if change == "rule":
                await controller.set_rule(PARALLEL, "anna", "a test")
            elif change == "with a key":
                await controller.change_once(
                    "a-key", "update", "v2", "rolling", None, "anna", "a test"
                )
            else:
                await controller.update("v2", change, None, "anna", "a test")
        finally:
            controller._chores.cancel()
            await controller._in_writer(controller._store.close)
            controller._writer.shutdown()

    with pytest.raises(BadConfig) as caught:
        asyncio.run(scenario())
    assert str(caught.value) == "applications have no 'animals': deploy a whole file first"
    assert deployed == []


@asynccontextmanager
async def idle_controller() -> AsyncIterator[Controller]:
    """A Controller without its chores."""
    controller = Controller()
    controller._chores.cancel()
    controller._has_resumed = True
    try:
        yield controller
    finally:
        await controller._in_writer(controller._store.close)
        controller._writer.shutdown()


def test_a_change_of_a_cancelled_caller_completes(
    deployed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, may_end = threading.Event(), threading.Event()

    def deploy(document: Any) -> None:
        started.set()
        assert may_end.wait(60)
        deployed.append(document)

    monkeypatch.setattr(serve_config, "deploy", deploy)

    async def scenario() -> None:
        async with idle_controller() as controller:
            call = asyncio.create_task(controller.deploy(config.read(BASE), "anna", "a test"))
            await asyncio.to_thread(started.wait, 60)
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()
            may_end.set()
            while not await controller.audit(1):
                await asyncio.sleep(0.01)
            (change,) = await controller.audit(1)
            (revision,) = await controller.revisions(1)
            assert (change["actor"], change["action"]) == ("anna", "deploy")
            assert change["details"] == {"revision": revision["number"]}

    asyncio.run(scenario())
    assert len(deployed) == 1


def test_a_change_is_recorded_later_with_its_actor_if_the_store_fails(
    deployed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change is deployed before it is recorded."""

    async def scenario() -> None:
        async with idle_controller() as controller:
            add = controller._store.add_revision

            def fail(*_: Any) -> int:
                raise StoreError("the disk is full")

            monkeypatch.setattr(controller._store, "add_revision", fail)
            with pytest.raises(StoreError) as caught:
                await controller.deploy(config.read(BASE), "anna", "a test")
            assert str(caught.value) == (
                "the change is deployed, and will be recorded when the store is available: the"
                " disk is full"
            )
            assert len(deployed) == 1
            with pytest.raises(StoreError):
                await controller.set_rule(SINGLE, "bob", "a test")
            assert len(deployed) == 1
            monkeypatch.setattr(controller._store, "add_revision", add)
            await controller._record_outside_change()
            await controller._record_outside_change()
            (change,) = await controller.audit(10)
            assert (change["action"], change["actor"], change["reason"]) == (
                "deploy",
                "anna",
                "a test",
            )
            assert len(await controller.revisions(10)) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("pool", "max_surge_pct", 1, "animals.StablePool.max_surge_pct is not a key of"),
        ("pool", "autoscaling_config", {"min_replica": 1}, "autoscaling_config.min_replica is not"),
        (
            "pool",
            "autoscaling_config",
            {"min_replicas": 5, "max_replicas": 2},
            "animals.StablePool.autoscaling_config.",
        ),
        ("animals", "runtime_envv", {}, "animals.runtime_envv is not a key of"),
        ("animals", "runtime_env", {"pipp": []}, "animals.runtime_env.pipp is not a key of"),
        ("animals", "args", {"bakend": "torch"}, "animals.args.bakend is rejected"),
        ("animals", "args", {"backend": "jax"}, "animals.args.backend is rejected"),
        ("file", "http_options", {"prot": 8000}, "http_options.prot is not a key of"),
        ("another", "deployments", {"a": 1}, "is rejected"),
        ("another", "deployments", "abc", "is rejected"),
        ("another", "colour", "red", "another.colour is not a key of"),
        ("file", "colour", "red", "colour is not a key of"),
    ],
)
def test_keys_that_serve_ignores_or_rejects_are_rejected(
    deployed: list[Any], part: str, key: str, value: Any, message: str
) -> None:
    document = config.read(BASE)
    animals = document["applications"][0]
    (pool,) = [d for d in animals["deployments"] if d["name"] == "StablePool"]
    another = {"name": "another", "route_prefix": "/another", "import_path": "x:another"}
    if part == "another":
        document["applications"].append(another)
    {"pool": pool, "animals": animals, "file": document, "another": another}[part][key] = value

    async def scenario() -> None:
        async with idle_controller() as controller:
            with pytest.raises(BadConfig) as caught:
                await controller.deploy(document, "anna", "a test")
            assert message in str(caught.value)

    asyncio.run(scenario())
    assert deployed == []


def test_a_change_that_waits_while_a_recreation_starts_is_rejected(deployed: list[Any]) -> None:
    async def scenario() -> None:
        async with idle_controller() as controller:
            async with controller._change_lock:
                waiting = asyncio.create_task(controller.deploy(config.read(BASE), "bob", "a test"))
                await asyncio.sleep(0.01)
                controller._recreation_task = asyncio.create_task(asyncio.sleep(60))
            with pytest.raises(UpdateInProgress):
                await waiting
            controller._recreation_task.cancel()

    asyncio.run(scenario())
    assert deployed == []


@pytest.mark.parametrize(
    "end",
    [
        Progress("done", "v2", 1, from_ms=1_000, to_ms=3_500, downtime_s=2.5),
        Progress("failed", "v2", 1, from_ms=1_000, message="v2 cannot be built"),
    ],
    ids=lambda end: str(end.state),
)
def test_the_end_of_a_recreation_is_in_the_audit_log(
    deployed: list[Any], monkeypatch: pytest.MonkeyPatch, end: Progress
) -> None:
    async def recreate(*_: Any) -> Progress:
        return end

    async def scenario() -> None:
        async with idle_controller() as controller:
            await controller._recreate(config.read(BASE), "v2", 1, "anna", "a new library")
            assert controller._recreation == end
            (entry,) = await controller.audit(10)
            fields = (entry["action"], entry["actor"], entry["reason"], entry["details"])
            assert fields == ("recreate", "anna", "a new library", asdict(end))

    monkeypatch.setattr(controller_module, "recreate", recreate)
    asyncio.run(scenario())
    assert deployed == []


def test_a_restarted_controller_resumes_a_recreation_after_the_deletion(
    deployed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration during the deletion is not recorded as a revision."""
    without = serve_config.details()
    deleting = copy.deepcopy(without)
    deleting["applications"]["animals"] = {
        "status": "DELETING",
        "deployed_app_config": config.read(BASE)["applications"][0],
    }

    async def scenario() -> None:
        async with idle_controller() as controller:
            controller._has_resumed = False
            await controller._add_revision(config.read(BASE), "anna", "recreate")
            for _ in range(2):
                monkeypatch.setattr(serve_config, "details", lambda: deleting)
                await controller._resume_recreation()
                await controller._record_outside_change()
            assert deployed == []
            assert len(await controller.revisions(10)) == 1
            monkeypatch.setattr(serve_config, "details", lambda: without)
            await controller._resume_recreation()
            assert len(deployed) == 1
            await controller._resume_recreation()
            assert len(deployed) == 1

    asyncio.run(scenario())


def test_a_review_is_made_once_per_key_and_expired_images_are_removed(deployed: list[Any]) -> None:
    writer = "0123456789ab"

    async def scenario() -> None:
        controller = Controller()
        try:
            await controller._remove_expired_images()
            now = now_ms()
            images = (
                kept_image(1, at_ms=now, expires_at_ms=now + 60_000),
                kept_image(2, at_ms=now, expires_at_ms=now - 1, digest="d2" * 32),
            )
            await controller.record(Batch(writer, kept=images))
            review = (f"{writer}-1", "koala", "anna", "")
            for _ in range(2):
                assert await controller.change_once("a-key", "add_review", *review) == 1
            with pytest.raises(AlreadyReviewed):
                await controller.add_review(*review)
            assert len(controller._store.kept_images()) == 2
            await controller._remove_expired_images()  # within a minute of the previous call
            assert len(controller._store.kept_images()) == 2
            controller._next_expiry_s = 0.0
            await controller._remove_expired_images()
            assert [image.sequence for image in controller._store.kept_images()] == [1]
        finally:
            controller._chores.cancel()
            await controller._in_writer(controller._store.close)
            controller._writer.shutdown()

    asyncio.run(scenario())
