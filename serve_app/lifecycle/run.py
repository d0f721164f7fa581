"""The record of a start: `run/run.json` in the home directory."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from serve_app.errors import BadHome
from serve_app.files import replacing
from serve_app.home import Home
from serve_app.lifecycle.ports import Port
from serve_app.lifecycle.processes import ProcessId, find_processes, identify

RECORD = "run.json"
LOG = "serve.log"  # the output of Ray and Serve


@dataclass(frozen=True)
class Run:
    """One `serve-app up`; recorded before it starts a process, removed when all have ended."""

    id: str
    file: str  # absolute path of the Serve configuration
    url: str  # of the service
    started_at: str  # ISO 8601, UTC
    sockets: str  # folder of HAProxy's files
    ports: tuple[Port, ...]
    starter: ProcessId  # the `serve-app up` process
    service: ProcessId | None = None  # `serve run`
    recorded: tuple[ProcessId, ...] = ()  # processes that were found

    @property
    def is_supervised(self) -> bool:
        """Whether the `serve-app up` process is alive."""
        return self.starter.find() is not None

    def processes(self) -> list[psutil.Process]:
        """The living processes of the run, without the starter."""
        session = self.service.pid if self.service else None
        return find_processes(self.id, session, self.recorded)

    def with_processes(self, processes: list[psutil.Process]) -> Run:
        """A copy with other recorded processes."""
        return replace(self, recorded=tuple(map(identify, processes)))


def save(run: Run, home: Home) -> None:
    """Write the record of a run; on an error the previous record stays.

    Raises:
        OSError: The record cannot be written, for example on a full disk.
    """
    with replacing(_path(home)) as draft:
        draft.write_text(json.dumps(asdict(run), indent=2) + "\n")


def load(home: Home) -> Run | None:
    """The last recorded run, with or without living processes; None if there is no record.

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
        raise BadHome(
            f"{path} is damaged ({exc}): end the processes of the service, then remove the file"
        ) from exc


def remove(run: Run, home: Home) -> None:
    """Remove the record of a run and HAProxy's files."""
    shutil.rmtree(run.sockets, ignore_errors=True)
    _path(home).unlink(missing_ok=True)


def current_run(home: Home) -> Run | None:
    """The run of a home directory; None if neither its starter nor its processes are alive."""
    run = load(home)
    return run if run and (run.is_supervised or run.processes()) else None


def log_path(home: Home) -> Path:
    """The file with the output of Ray and Serve."""
    return home.folder("run") / LOG


def _path(home: Home) -> Path:
    return home.folder("run") / RECORD
