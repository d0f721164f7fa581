"""What a start waits for, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.errors import StartFailed
from serve_app.home import Home
from serve_app.lifecycle import ray_api, readiness
from serve_app.lifecycle.ray_api import Application, Deployment
from serve_app.lifecycle.readiness import RAY_TIMED_OUT, RayTimedOut, wait_until_ready
from serve_app.lifecycle.run import Run, log_path
from serve_app.lifecycle.serve_file import ServeFile
from serve_app.lifecycle.signals import StopSignals
from serve_app.lifecycle.terminal import Terminal

FILE = ServeFile(Path("/f.yaml"), "127.0.0.1", 8000, ("animals", "control"))


def application(name: str, status: str, **replicas: tuple[int, int]) -> Application:
    """An application with deployments of (running, wanted) replicas."""
    deployments = (Deployment(key, *counts, "") for key, counts in replicas.items())
    return Application(name, status, "", tuple(deployments))


@pytest.mark.parametrize(
    ("applications", "text"),
    [
        ((), "Ray is running, starting Serve"),
        (
            (application("animals", "DEPLOYING"), application("control", "DEPLOYING")),
            "Waiting for animals, control",
        ),
        (
            (
                application(
                    "animals",
                    "DEPLOYING",
                    StablePool=(1, 4),
                    CandidatePool=(0, 0),
                    Ingress=(0, 1),
                ),
                application("control", "DEPLOYING", Controller=(0, 1), ControlApi=(0, 1)),
            ),
            "Waiting for StablePool (1 of 4), Ingress, Controller, ControlApi",
        ),
        (
            (
                application("animals", "DEPLOYING", Ingress=(1, 1)),
                application("control", "RUNNING", Controller=(1, 1)),
            ),
            "Waiting for Serve",
        ),
        (
            (application("animals", "RUNNING"), application("control", "RUNNING")),
            "All replicas are running, waiting until the service is ready",
        ),
    ],
)
def test_the_progress_names_what_is_missing_in_a_narrow_terminal(
    applications: tuple[Application, ...], text: str
) -> None:
    assert readiness._describe_state(applications, FILE) == text
    assert len(text) < 70  # next to the clock


@pytest.mark.parametrize(
    ("log", "kind", "message"),
    [
        (f"Traceback\nException: {RAY_TIMED_OUT}. This", RayTimedOut, "the machine is too busy"),
        ("Traceback\nOSError: no space", StartFailed, "OSError: no space"),
    ],
)
def test_a_service_that_ends_is_explained(
    home: Home, supervised_run: Run, log: str, kind: type[StartFailed], message: str
) -> None:
    log_path(home).write_text(log)
    with StopSignals() as signals, pytest.raises(StartFailed, match=message) as caught:
        wait_until_ready(supervised_run, FILE, home, Terminal(), signals)
    assert type(caught.value) is kind
    assert ("Traceback" in str(caught.value)) == (kind is StartFailed)


def test_a_signal_ends_the_wait(
    home: Home, supervised_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object) -> None:
        signals.count += 1

    monkeypatch.setattr(ray_api, "get_applications", interrupt)
    run = Run(**{**vars(supervised_run), "service": supervised_run.starter})
    with StopSignals() as signals:
        assert not wait_until_ready(run, FILE, home, Terminal(), signals)
