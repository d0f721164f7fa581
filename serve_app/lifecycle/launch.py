"""Starting Ray and Serve: one `serve run`, recorded before and after."""

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
from serve_app.lifecycle import environment
from serve_app.lifecycle.ports import Port
from serve_app.lifecycle.processes import identify
from serve_app.lifecycle.run import Run, log_path, save
from serve_app.lifecycle.serve_file import ServeFile


def announce(file: ServeFile, ports: tuple[Port, ...], home: Home) -> Run:
    """A run that is recorded before any of its processes exists."""
    run = Run(
        id=secrets.token_hex(8),
        file=str(file.path),
        url=file.url,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        sockets=tempfile.mkdtemp(prefix="serve-app-", dir="/tmp"),  # short, as sockets need
        ports=ports,
        starter=identify(psutil.Process()),
    )
    save(run, home)
    return run


def launch(run: Run, home: Home) -> Run:
    """Start the `serve run` of a run, in a session of its own; what it prints goes to the log."""
    # Without an address, it joins any Ray that it finds.
    command = [sys.executable, "-m", "ray.serve.scripts", "run", "--address", "local", run.file]
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    pid = os.posix_spawn(
        sys.executable,
        command,
        environment.of_service(os.environ, run.id, home.path, Path(run.sockets)),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_path(home)), log_flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        # A shell starts what it puts into the background with SIGINT ignored: heed it again.
        setsigdef=[signal.SIGINT],
    )
    run = replace(run, service=identify(psutil.Process(pid)))
    save(run, home)
    return run
