"""What a start started: `run/run.json` in the home."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from serve_app.errors import BadHome
from serve_app.home import Home
from serve_app.lifecycle.ports import Port
from serve_app.lifecycle.processes import ProcessId, identify, members

RECORD = "run.json"
LOG = "serve.log"  # what Ray and Serve print


@dataclass(frozen=True)
class Run:
    """One `serve-app up`: recorded before it starts anything, removed when all of it is gone."""

    id: str
    file: str  # absolute path of the Serve configuration
    url: str  # of the service
    started_at: str  # ISO 8601, UTC
    sockets: str  # folder of HAProxy's files
    ports: tuple[Port, ...]
    starter: ProcessId  # the `serve-app up` that waits with the service
    service: ProcessId | None = None  # `serve run`
    recorded: tuple[ProcessId, ...] = ()

    @property
    def is_attended(self) -> bool:
        """Whether the `serve-app up` lives that ends the service when it is told to."""
        return self.starter.living() is not None

    def processes(self) -> list[psutil.Process]:
        """All that lives of it, but the starter."""
        session = self.service.pid if self.service else None
        return members(self.id, session, self.recorded)

    def with_processes(self, processes: list[psutil.Process]) -> Run:
        """The run with these processes recorded."""
        return replace(self, recorded=tuple(map(identify, processes)))


def save(run: Run, home: Home) -> None:
    """Record a run; a record that cannot be written leaves the one before.

    Raises:
        OSError: Such as on a full disk.
    """
    path = _path(home)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(asdict(run), indent=2) + "\n")
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)  # a full disk needs the room
        raise


def load(home: Home) -> Run | None:
    """The run that was recorded last, alive or not.

    Raises:
        BadHome: The record is damaged.
    """
    path = _path(home)
    try:
        content = json.loads(path.read_text())
        return Run(
            **content
            | {
                "ports": tuple(Port(**port) for port in content["ports"]),
                "starter": ProcessId(**content["starter"]),
                "service": content["service"] and ProcessId(**content["service"]),
                "recorded": tuple(ProcessId(**process) for process in content["recorded"]),
            }
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as exc:
        raise BadHome(f"{path} is damaged ({exc}): end what it started, then remove it") from exc


def forget(run: Run, home: Home) -> None:
    """Remove the record and HAProxy's files."""
    shutil.rmtree(run.sockets, ignore_errors=True)
    _path(home).unlink(missing_ok=True)


def current_run(home: Home) -> Run | None:
    """The run of this home, while its starter or anything that it started lives."""
    run = load(home)
    return run if run and (run.is_attended or run.processes()) else None


def log_path(home: Home) -> Path:
    return home.folder("run") / LOG


def _path(home: Home) -> Path:
    return home.folder("run") / RECORD
