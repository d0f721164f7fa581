"""Waits until a deployed revision is in force, and reports the progress."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

import typer

from serve_app.cli.progress import clock
from serve_app.client import Client
from serve_app.errors import DeployFailed, NotRunning, Rejected

IN_FORCE_TIMEOUT_S = 180.0
RECREATION_TIMEOUT_S = 1200.0  # longer than the Controller's own timeouts
POLL_S = 0.5
QUIET_S = 5.0  # before it is said that Serve is deploying


def wait_until_in_force(
    client: Client, revision: int, *, recreates: bool = False, is_quiet: bool = False
) -> dict[str, Any]:
    """Wait until a revision is in force; print the progress to stderr.

    Args:
        recreates: The revision recreates the data plane.
        is_quiet: Print nothing.

    Returns:
        The response of `GET /control/status`.

    Raises:
        DeployFailed: It cannot come into force, a newer revision was deployed, or the timeout
            passed.
    """
    timeout_s = RECREATION_TIMEOUT_S if recreates else IN_FORCE_TIMEOUT_S
    started_s, printed = time.monotonic(), ""
    progress = (
        contextlib.nullcontext(lambda _: None)
        if is_quiet
        else clock(f"waiting for revision {revision}")
    )
    with progress as show:
        while True:
            waited_s = time.monotonic() - started_s
            try:
                status = client.status()
            except (NotRunning, Rejected) as exc:  # the Controller or the proxy restarts
                text = str(exc)
            else:
                _raise_failure(status, revision, recreates=recreates)
                if status["in_force"] and status["revision"] == revision:
                    return status
                text, is_news = _describe(status)
                if text != printed and (is_news or waited_s > QUIET_S):
                    if not (is_quiet or sys.stderr.isatty()):
                        typer.echo(text, err=True)
                    printed = text
            show(text)
            if waited_s > timeout_s:
                raise DeployFailed(
                    f"not in force after {timeout_s:g} s: {text}; see serve-app status"
                )
            time.sleep(POLL_S)


def _describe(status: dict[str, Any]) -> tuple[str, bool]:
    """What is lacking, and whether to print it at once: every change is deploying for a moment."""
    if not status["lacking"]:
        return f"revision {status['revision']} is in force", True
    first = status["lacking"][0]
    return first["message"], first["code"] != "deploying"


def _raise_failure(status: dict[str, Any], revision: int, *, recreates: bool) -> None:
    if (status["revision"] or 0) > revision:
        raise DeployFailed(f"revision {status['revision']} was deployed in the meantime")
    recreation = status["recreation"] if recreates else None
    if recreation and recreation["phase"] == "failed":
        raise DeployFailed(f"the data plane could not be recreated: {recreation['message']}")
    if status["failed"] and status["revision"] == revision:
        raise DeployFailed("; ".join(status["troubles"]))
