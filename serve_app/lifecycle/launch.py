"""Starts Ray and Serve with `serve run`, and records the start before and after."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from serve_app.home import Home
from serve_app.lifecycle import environment, haproxy_responses
from serve_app.lifecycle.ports import Port
from serve_app.lifecycle.processes import identify
from serve_app.lifecycle.run import Run, log_path, save
from serve_app.lifecycle.serve_file import ServeFile


def create_run(file: ServeFile, ports: tuple[Port, ...], home: Home) -> Run:
    """Record a run before any of its processes exists."""
    run = Run(
        id=secrets.token_hex(8),
        file=str(file.path),
        url=file.url,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        sockets=tempfile.mkdtemp(prefix="serve-app-", dir="/tmp"),  # socket paths must be short
        ports=ports,
        starter=identify(psutil.Process()),
    )
    save(run, home)
    return run


def launch(run: Run, home: Home) -> Run:
    """Start `serve run` in a new session; its output goes to the log."""
    haproxy_responses.write(Path(run.sockets))
    # Without an address it joins any running Ray cluster.
    command = [sys.executable, "-m", "ray.serve.scripts", "run", "--address", "local", run.file]
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    pid = os.posix_spawn(
        sys.executable,
        command,
        environment.service_environment(os.environ, run.id, home.path, Path(run.sockets)),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_path(home)), log_flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        # A shell starts background processes with SIGINT ignored; restore its default action.
        setsigdef=[signal.SIGINT],
    )
    run = replace(run, service=identify(psutil.Process(pid)))
    save(run, home)
    return run
