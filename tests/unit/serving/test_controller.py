"""What the Controller answers by what Serve says; Serve itself is not there."""

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
from tests.unit.recording.fakes import kept
from tests.unit.service import PARALLEL, SINGLE

with warnings.catch_warnings():  # Serve's modules use what pydantic will take away
    warnings.simplefilter("ignore")
    from serve_app.serving import controller, serve_config
    from serve_app.serving.controller import Controller
    from serve_app.serving.recreation import Progress


# Ray's own check of what Ray's own default is; see `serve_app.deployment.scaling`.
pytestmark = pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What Serve is sent while it has the control plane alone."""
    document = without_data_plane(config.read(BASE))
    details = {
        "applications": {"control": {"deployed_app_config": document["applications"][0]}},
        "http_options": document["http_options"],
    }
    sent: list[Any] = []
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    monkeypatch.setattr(serve_config, "details", lambda: details)
    monkeypatch.setattr(serve_config, "deploy", sent.append)
    monkeypatch.setattr(controller, "join_serve_log", lambda: None)
    monkeypatch.delattr(Controller, "__del__")  # it is Serve that awaits it
    gc.freeze()  # what is there already need not be looked through
    yield sent
    gc.collect()  # a Controller that were left would be told its end as Serve's are
    gc.unfreeze()


@pytest.mark.parametrize("what", ["rule", "rolling", "recreate", "under a key"])
def test_without_a_data_plane_a_rule_and_an_update_are_rejected(sent: list[Any], what: str) -> None:
    async def ask() -> None:
        made = Controller()
        try:
            if what == "rule":
                await made.set_rule(PARALLEL, "anna", "a test")
            elif what == "under a key":
                await made.once("a-key", "update", "v2", "rolling", None, "anna", "a test")
            else:
                await made.update("v2", what, None, "anna", "a test")
        finally:
            made._watching.cancel()
            await made._in_writer(made._store.close)
            made._writer.shutdown()

    with pytest.raises(BadConfig) as caught:
        asyncio.run(ask())
    assert str(caught.value) == "applications have no 'animals': deploy one"
    assert sent == []


@asynccontextmanager
async def alone() -> AsyncIterator[Controller]:
    """A Controller that does nothing by itself."""
    made = Controller()
    made._watching.cancel()
    made._resumed = True
    try:
        yield made
    finally:
        await made._in_writer(made._store.close)
        made._writer.shutdown()


def test_a_change_whose_asker_is_gone_is_made_whole(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def deploy(document: Any) -> None:
        begun.set()
        assert go_on.wait(60)
        sent.append(document)

    monkeypatch.setattr(serve_config, "deploy", deploy)

    async def ask() -> None:
        async with alone() as made:
            asked = asyncio.create_task(made.deploy(config.read(BASE), "anna", "a test"))
            await asyncio.to_thread(begun.wait, 60)
            asked.cancel()
            await asyncio.wait([asked])
            assert asked.cancelled()
            go_on.set()
            while not await made.audit(1):
                await asyncio.sleep(0.01)
            (change,) = await made.audit(1)
            (revision,) = await made.revisions(1)
            assert (change["actor"], change["action"]) == ("anna", "deploy")
            assert change["details"] == {"revision": revision["number"]}

    asyncio.run(ask())
    assert len(sent) == 1


def test_what_could_not_be_recorded_is_recorded_later_with_who_did_it(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Serve was told already: the store comes second."""

    async def ask() -> None:
        async with alone() as made:
            add = made._store.add_revision

            def fail(*_: Any) -> int:
                raise StoreError("the disk is full")

            monkeypatch.setattr(made._store, "add_revision", fail)
            with pytest.raises(StoreError) as caught:
                await made.deploy(config.read(BASE), "anna", "a test")
            assert str(caught.value) == (
                "the change is in force, and is recorded once the store can be used: the disk is"
                " full"
            )
            assert len(sent) == 1
            with pytest.raises(StoreError):
                await made.set_rule(SINGLE, "bob", "first things first")
            assert len(sent) == 1
            monkeypatch.setattr(made._store, "add_revision", add)
            await made._notice()
            await made._notice()
            (change,) = await made.audit(10)
            assert (change["action"], change["actor"], change["reason"]) == (
                "deploy",
                "anna",
                "a test",
            )
            assert len(await made.revisions(10)) == 1

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("place", "key", "value", "message"),
    [
        ("pool", "max_surge_pct", 1, "animals.StablePool.max_surge_pct is no key of"),
        ("pool", "autoscaling_config", {"min_replica": 1}, "autoscaling_config.min_replica is no"),
        (
            "pool",
            "autoscaling_config",
            {"min_replicas": 5, "max_replicas": 2},
            "animals.StablePool.autoscaling_config.",
        ),
        ("animals", "runtime_envv", {}, "animals.runtime_envv is no key of"),
        ("animals", "runtime_env", {"pipp": []}, "animals.runtime_env.pipp is no key of"),
        ("animals", "args", {"bakend": "torch"}, "animals.args.bakend is rejected"),
        ("animals", "args", {"backend": "jax"}, "animals.args.backend is rejected"),
        ("file", "http_options", {"prot": 8000}, "http_options.prot is no key of"),
        ("another", "deployments", {"a": 1}, "is rejected"),
        ("another", "deployments", "abc", "is rejected"),
        ("another", "colour", "red", "another.colour is no key of"),
        ("file", "colour", "red", "colour is no key of"),
    ],
)
def test_what_serve_would_ignore_or_fail_to_build_is_rejected(
    sent: list[Any], place: str, key: str, value: Any, message: str
) -> None:
    document = config.read(BASE)
    animals = document["applications"][0]
    (pool,) = [d for d in animals["deployments"] if d["name"] == "StablePool"]
    another = {"name": "another", "route_prefix": "/another", "import_path": "x:another"}
    if place == "another":
        document["applications"].append(another)
    {"pool": pool, "animals": animals, "file": document, "another": another}[place][key] = value

    async def ask() -> None:
        async with alone() as made:
            with pytest.raises(BadConfig) as caught:
                await made.deploy(document, "anna", "a test")
            assert message in str(caught.value)

    asyncio.run(ask())
    assert sent == []


def test_a_change_that_waited_while_a_recreation_began_is_rejected(sent: list[Any]) -> None:
    async def ask() -> None:
        async with alone() as made:
            async with made._deploying:
                waiting = asyncio.create_task(made.deploy(config.read(BASE), "bob", "a test"))
                await asyncio.sleep(0.01)
                made._recreating = asyncio.create_task(asyncio.sleep(60))
            with pytest.raises(UpdateInProgress):
                await waiting
            made._recreating.cancel()

    asyncio.run(ask())
    assert sent == []


@pytest.mark.parametrize(
    "end",
    [
        Progress("done", "v2", 1, from_ms=1_000, to_ms=3_500, downtime_s=2.5),
        Progress("failed", "v2", 1, from_ms=1_000, message="v2 cannot be built"),
    ],
    ids=lambda end: str(end.state),
)
def test_how_a_recreation_ended_is_in_the_audit(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch, end: Progress
) -> None:
    async def recreated(*_: Any) -> Progress:
        return end

    async def recreate() -> None:
        async with alone() as made:
            await made._recreate(config.read(BASE), "v2", 1, "anna", "a new library")
            assert made._recreation == end
            (noted,) = await made.audit(10)
            facts = (noted["action"], noted["actor"], noted["reason"], noted["details"])
            assert facts == ("recreate", "anna", "a new library", asdict(end))

    monkeypatch.setattr(controller, "recreate", recreated)
    asyncio.run(recreate())
    assert sent == []


def test_a_data_plane_that_is_being_deleted_is_built_when_it_is_gone(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Controller was killed while it recreated: what is left is nobody's wish, no revision."""
    without = serve_config.details()
    going = copy.deepcopy(without)
    going["applications"]["animals"] = {
        "status": "DELETING",
        "deployed_app_config": config.read(BASE)["applications"][0],
    }

    async def born() -> None:
        async with alone() as made:
            made._resumed = False
            await made._remember(config.read(BASE), "anna", "recreate")
            for _ in range(2):
                monkeypatch.setattr(serve_config, "details", lambda: going)
                await made._resume()
                await made._notice()
            assert sent == []
            assert len(await made.revisions(10)) == 1
            monkeypatch.setattr(serve_config, "details", lambda: without)
            await made._resume()
            assert len(sent) == 1
            await made._resume()
            assert len(sent) == 1

    asyncio.run(born())


def test_a_review_is_made_once_for_a_key_and_expired_images_are_removed(sent: list[Any]) -> None:
    writer = "0123456789ab"

    async def review() -> None:
        made = Controller()
        try:
            await made._expire()
            now = now_ms()
            images = (
                kept(1, at_ms=now, expires_at_ms=now + 60_000),
                kept(2, at_ms=now, expires_at_ms=now - 1, digest="d2" * 32),
            )
            await made.record(Batch(writer, kept=images))
            said = (f"{writer}-1", "koala", "anna", "")
            for _ in range(2):
                assert await made.once("a-key", "review", *said) == 1
            with pytest.raises(AlreadyReviewed):
                await made.review(*said)
            assert len(made._store.kept_images()) == 2
            await made._expire()  # too early to look again
            assert len(made._store.kept_images()) == 2
            made._expire_from_s = 0.0
            await made._expire()
            assert [image.sequence for image in made._store.kept_images()] == [1]
        finally:
            made._watching.cancel()
            await made._in_writer(made._store.close)
            made._writer.shutdown()

    asyncio.run(review())
