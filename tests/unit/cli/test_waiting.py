"""Waiting until a revision is in force."""

from __future__ import annotations

import sys
from typing import Any, cast

import pytest

from serve_app.cli import waiting
from serve_app.cli.options import format_downtime
from serve_app.cli.waiting import wait_until_in_force
from serve_app.client import Client
from serve_app.errors import DeployFailed, NotRunning, Rejected

UPDATING = "updating StablePool to v2 ({} of 4 replicas ready)"
FAILED_RECREATION = {"phase": "failed", "message": "no such module"}


def status(*lacking: str, **changes: Any) -> dict[str, Any]:
    """A response of `GET /control/status`; by default, of revision 2."""
    return {
        "revision": 2,
        "in_force": not lacking,
        "failed": False,
        "lacking": [{"code": "updating", "message": message} for message in lacking],
        "troubles": [],
        "recreation": None,
    } | changes


IN_FORCE = status()
UNREACHABLE = Rejected(503, "the Controller cannot be reached")
STARTING = status("starting v2 on CandidatePool (0 of 1 replicas ready)")


def wait(*responses: dict[str, Any] | Exception, recreates: bool = False) -> dict[str, Any]:
    """Wait for revision 2; the service repeats the last response."""
    remaining = list(responses)

    class ScriptedClient:
        def status(self) -> dict[str, Any]:
            response = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            if isinstance(response, Exception):
                raise response
            return response

    return wait_until_in_force(cast("Client", ScriptedClient()), 2, recreates=recreates)


def test_each_progress_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the most important thing that is lacking."""
    progress = [status(UPDATING.format(ready), "another") for ready in (0, 1, 1, 3)]
    assert wait(*progress, IN_FORCE) is IN_FORCE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [UPDATING.format(ready) for ready in (0, 1, 3)]


def test_that_serve_is_deploying_is_printed_late(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is for a moment at every change."""
    lacking = [{"code": "deploying", "message": "StablePool is updating"}]
    deploying = status(in_force=False, lacking=lacking)
    wait(deploying, IN_FORCE)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(waiting, "QUIET_S", -1)
    wait(deploying, deploying, IN_FORCE)
    assert capsys.readouterr().err == "StablePool is updating\n"


def test_an_earlier_revision_in_force_is_not_enough() -> None:
    assert wait(status(revision=1), IN_FORCE) is IN_FORCE


@pytest.mark.parametrize("superseding", [status(revision=3), status("starting", revision=3)])
def test_a_superseded_revision_is_an_error(superseding: dict[str, Any]) -> None:
    with pytest.raises(DeployFailed, match=r"^revision 3 was deployed in the meantime$"):
        wait(STARTING, superseding)


def test_a_failure_ends_the_waiting_at_once() -> None:
    troubles = ["a rule was rejected: rule.stable is v9", "deployment Ingress is UNHEALTHY"]
    failed = status(*troubles, "progress", failed=True, troubles=troubles)
    with pytest.raises(DeployFailed) as caught:
        wait(failed, IN_FORCE)
    assert str(caught.value) == "; ".join(troubles)


def test_the_failure_of_the_earlier_revision_is_waited_out() -> None:
    """The change may be what corrects it."""
    failed = status("application animals is DEPLOY_FAILED", revision=1, failed=True)
    assert wait(failed, IN_FORCE) is IN_FORCE


@pytest.mark.parametrize(
    ("last", "lacking"),
    [
        (STARTING, STARTING["lacking"][0]["message"]),
        (status(revision=1), "revision 1 is in force"),
        (UNREACHABLE, str(UNREACHABLE)),
    ],
)
@pytest.mark.usefixtures("short_timeout")
def test_a_timeout_names_what_is_lacking(last: Any, lacking: str) -> None:
    with pytest.raises(DeployFailed) as caught:
        wait(last)
    assert str(caught.value) == f"not in force after 0 s: {lacking}; see serve-app status"


@pytest.mark.parametrize("error", [UNREACHABLE, NotRunning("no service is reachable")])
def test_an_unreachable_controller_is_waited_for(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    not_recovered = status("the deployed configuration has no revision yet", revision=None)
    assert wait(STARTING, error, error, not_recovered, error, IN_FORCE) is IN_FORCE
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.usefixtures("short_timeout")
def test_a_recreation_has_a_longer_timeout() -> None:
    building = status(
        "recreating the data plane with v2: building", recreation={"phase": "building"}
    )
    assert wait(building, building, IN_FORCE, recreates=True) is IN_FORCE


def test_a_failed_recreation_is_an_error() -> None:
    """Even if the data plane came up later."""
    for failed in (
        status("starting", recreation=FAILED_RECREATION),
        status(recreation=FAILED_RECREATION),
    ):
        with pytest.raises(DeployFailed) as caught:
            wait(failed, recreates=True)
        assert str(caught.value) == "the data plane could not be recreated: no such module"


def test_the_failed_recreation_of_an_earlier_change_is_no_error() -> None:
    """A second update to the same configuration has the number of the first one."""
    again = status(recreation=FAILED_RECREATION)
    assert wait(status("starting", recreation=FAILED_RECREATION), again) is again


@pytest.mark.parametrize(
    ("is_upper_bound", "text"),
    [
        (False, "downtime 8.4 s"),
        (True, "downtime at most 8.4 s, because the Controller was restarted meanwhile"),
    ],
)
def test_the_downtime_of_a_continued_recreation_is_an_upper_bound(
    is_upper_bound: bool, text: str
) -> None:
    assert format_downtime({"downtime_s": 8.43, "is_upper_bound": is_upper_bound}) == text


def test_a_terminal_shows_a_clock_instead_of_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert wait(STARTING, STARTING, STARTING, IN_FORCE) is IN_FORCE
    lines = capsys.readouterr().err.splitlines()
    assert "0:00:00" in "".join(lines)
    assert not any(line.startswith("starting") for line in lines)
