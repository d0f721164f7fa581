"""The chores of the control plane."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from serve_app.clock import now_ms
from serve_app.control_plane.chores import Chores
from serve_app.errors import NotReady
from serve_app.recording.batch import Batch
from serve_app.recording.spool import Spool
from tests.factories import kept_image
from tests.unit.control_plane.conftest import Machine, SteppedPlane

WRITER = "0123456789ab"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    (tmp_path / "spool").mkdir()
    return Spool(tmp_path / "spool")


def test_expired_images_are_removed_once_a_minute(machine: Machine, spool: Spool) -> None:
    async def scenario(plane: SteppedPlane) -> None:
        chores = Chores(plane, machine.store, spool)
        await chores.run_once()
        now = now_ms()
        images = (
            kept_image(1, at_ms=now, expires_at_ms=now + 60_000),
            kept_image(2, at_ms=now, expires_at_ms=now - 1, digest="d2" * 32),
        )
        await plane.record(Batch(WRITER, kept=images))
        await chores.run_once()  # within a minute of the previous round
        assert len(machine.store.kept_images()) == 2
        chores._next_expiry_s = 0.0
        await chores.run_once()
        assert [image.sequence for image in machine.store.kept_images()] == [1]

    machine.run(scenario)


def test_a_chore_that_fails_stops_no_other(
    machine: Machine, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    spool.write(Batch(WRITER, kept=(kept_image(1, at_ms=now_ms()),)))

    async def scenario(plane: SteppedPlane) -> None:
        machine.cluster.state_failure = NotReady("Serve cannot be reached")
        rounds = 0

        def count() -> None:
            nonlocal rounds
            rounds += 1

        run = asyncio.create_task(Chores(plane, machine.store, spool).run(count))
        while not rounds:
            await asyncio.sleep(0.001)
        run.cancel()

    with caplog.at_level(logging.ERROR):
        machine.run(scenario)
    assert len(machine.store.kept_images()) == 1
    failed = {record.chore for record in caplog.records if hasattr(record, "chore")}
    assert failed == {"record_outside_change", "record_convergence"}
