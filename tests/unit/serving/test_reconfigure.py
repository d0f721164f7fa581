"""How a replica takes a new configuration."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from serve_app.deployment.last_good_config import LastGoodConfig
from serve_app.digest import json_digest
from serve_app.errors import BadConfig
from serve_app.serving.reconfigure import Reconfiguration


class Replica:
    """A replica with a configuration; it rejects versions above 2, and fails at 0.

    Attributes:
        version: Of the configuration in force; None without one.
        missing: A version that the registry does not have at present.
        attempts: How many configurations it tried to apply.
    """

    missing: int | None = None
    attempts = 0

    def __init__(self, folder: Path) -> None:
        self.version: int | None = None
        self.configuration = Reconfiguration(LastGoodConfig(folder, "app", "pool"), self._apply)

    def reconfigure(self, version: int) -> None:
        asyncio.run(self.configuration.reconfigure({"version": version}))

    def check_health(self, times: int = 1) -> None:
        """Serve's health checks."""

        async def check() -> None:
            for _ in range(times):
                self.configuration.retry()
            await asyncio.sleep(0.01)

        asyncio.run(check())

    async def _apply(self, user_config: Any) -> None:
        self.attempts += 1
        version = user_config["version"]
        if version > 2 or version == self.missing:
            raise BadConfig("version", f"is {version}")
        self.version = 2 // version and version


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path)


def test_a_configuration_is_applied(replica: Replica) -> None:
    replica.reconfigure(1)
    assert (replica.version, replica.configuration.rejection_content) == (1, None)
    assert replica.configuration.config_digest == json_digest({"version": 1})


@pytest.mark.parametrize(
    ("wrong", "rejection"),
    [
        (3, {"path": "version", "message": "is 3"}),
        (
            0,
            {
                "path": "user_config",
                "message": "is rejected: ZeroDivisionError('integer division or modulo by zero')",
            },
        ),
    ],
)
def test_a_rejected_one_leaves_the_present_one_in_force(
    replica: Replica, wrong: int, rejection: dict[str, str]
) -> None:
    replica.reconfigure(1)
    replica.reconfigure(wrong)
    assert (replica.version, replica.configuration.rejection_content) == (1, rejection)
    assert replica.configuration.config_digest == json_digest({"version": wrong})
    replica.reconfigure(2)
    assert (replica.version, replica.configuration.rejection) == (2, None)


def test_a_new_replica_uses_the_last_good_one(replica: Replica, tmp_path: Path) -> None:
    replica.reconfigure(2)
    replica.reconfigure(3)
    newborn = Replica(tmp_path)
    newborn.reconfigure(3)
    assert newborn.version == 2
    assert newborn.configuration.rejection_content == {"path": "version", "message": "is 3"}


def test_a_new_replica_without_a_last_good_one_has_none(replica: Replica) -> None:
    replica.reconfigure(3)
    assert replica.version is None


def test_a_rejected_one_is_tried_again(replica: Replica) -> None:
    """Without the present one, and with it."""
    for version, before in ((1, None), (2, 1)):
        replica.missing = version
        replica.reconfigure(version)
        replica.check_health()
        assert (replica.version, replica.configuration.rejection_content) == (
            before,
            {"path": "version", "message": f"is {version}"},
        )
        replica.missing = None
        replica.check_health()
        assert (replica.version, replica.configuration.rejection) == (version, None)
        assert replica.configuration.config_digest == json_digest({"version": version})


def test_a_new_replica_tries_the_wanted_one_and_the_last_good_one(
    replica: Replica, tmp_path: Path
) -> None:
    replica.reconfigure(2)
    newborn = Replica(tmp_path)
    newborn.missing = 2
    newborn.reconfigure(3)
    assert newborn.version is None
    newborn.missing = None
    newborn.check_health()
    assert newborn.version == 2
    assert newborn.configuration.rejection_content == {"path": "version", "message": "is 3"}


def test_health_checks_do_not_wait_for_an_attempt(replica: Replica) -> None:
    replica.reconfigure(3)
    replica.attempts = 0
    replica.check_health(times=5)
    assert replica.attempts == 1


def test_an_accepted_one_is_not_tried_again(replica: Replica) -> None:
    replica.reconfigure(3)
    replica.reconfigure(1)
    replica.attempts = 0
    replica.check_health()
    assert replica.attempts == 0


def test_the_same_rejection_is_logged_once(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    replica.reconfigure(3)
    replica.check_health()
    assert [record.message for record in caplog.records] == ["config.rejected"]
