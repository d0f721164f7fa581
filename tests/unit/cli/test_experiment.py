from __future__ import annotations

import json
import re

import pytest

from tests.unit.cli.conftest import Command, RunningService
from tests.unit.reports.conftest import CANARY, SHADOW, TEST, StoreBuilder

pytestmark = pytest.mark.slow


@pytest.fixture
def builder(running: RunningService) -> StoreBuilder:
    """Fills the store that the running service reads."""
    return StoreBuilder(running.control.store)


def add_experiments(builder: StoreBuilder) -> None:
    """A canary, an A/B test and a shadow of v2, one after the other; a shadow of v3, which is
    in no registry and predicted nothing."""
    builder.adopt_rule(CANARY)
    for user in range(1200):
        builder.add_exposure("v1", user)
    builder.add_exposure("v2", user=2000)
    builder.adopt_rule(TEST, minute=60, experiment="do-users-of-the-zoo-prefer-v2")
    builder.adopt_rule(SHADOW, minute=120)
    builder.add_pair(builder.add_exposure("v1", user=1, minute=121, reason="static"), "cat")
    builder.adopt_rule(SHADOW, minute=180, candidate="v3")
    builder.build()


def test_the_list_has_kinds_versions_dates_units_and_findings(
    command: Command, builder: StoreBuilder
) -> None:
    add_experiments(builder)
    done = command("experiment", "list")
    assert (done.code, done.err) == (0, "")
    assert [re.split(r"\s{2,}", line.strip()) for line in done.out.splitlines()] == [
        ["experiment", "kind", "versions", "from (UTC)", "to (UTC)", "units", "finding"],
        [
            "shadow-v1-v3",
            "shadow",
            "stable v1, candidate v3",
            "2023-11-15 03:00",
            "now",
            "- + -",
            "-",
        ],
        [
            "shadow-v1-v2",
            "shadow",
            "stable v1, candidate v2",
            "2023-11-15 02:00",
            "2023-11-15 03:00",
            "1 + 1",
            "not known",
        ],
        [
            "do-users-of-the-zoo-prefer-v2",
            "ab_test",
            "control v1, treatment v2",
            "2023-11-15 01:00",
            "2023-11-15 02:00",
            "0 + 0",
            "not known",
        ],
        [
            "koala-canary",
            "canary_parallel",
            "stable v1, candidate v2",
            "2023-11-15 00:00",
            "2023-11-15 01:00",
            "1,200 + 1",
            "invalid: SRM",
        ],
        ["shadow-v1-v3 cannot be assessed: there is no version 'v3': the registry has v1, v2"],
    ]


def test_the_limit_keeps_the_newest(command: Command, builder: StoreBuilder) -> None:
    add_experiments(builder)
    done = command("experiment", "list", "--limit", "2", "--json")
    assert [e["name"] for e in json.loads(done.out)] == ["shadow-v1-v3", "shadow-v1-v2"]


def test_without_experiments_the_list_is_empty(command: Command, builder: StoreBuilder) -> None:
    builder.build()
    done = command("experiment", "list")
    assert (done.code, len(done.out.splitlines())) == (0, 1)
    assert json.loads(command("experiment", "list", "--json").out) == []
