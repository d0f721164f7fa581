"""The ports that the service needs, and who has them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil

from serve_app.errors import BadConfig
from serve_app.home import HOME_VARIABLE
from serve_app.lifecycle.environment import RUN_VARIABLE
from serve_app.lifecycle.serve_file import ServeFile

DASHBOARD_PORT = 8265
COMMAND_LENGTH = 100  # characters of a command that a message shows


@dataclass(frozen=True)
class Port:
    """A port that the service listens on."""

    number: int
    host: str  # "" is every interface
    use: str
    moved_by: str | None = None  # the setting that takes another one


@dataclass(frozen=True)
class Owner:
    """The process that listens on a port."""

    pid: int
    program: str
    command: str
    home: str | None = None  # of the start that it belongs to, if it is one of ours


@dataclass(frozen=True)
class TakenPort:
    port: Port
    owner: Owner | None  # None when the kernel does not tell this user

    def __str__(self) -> str:
        where = f"port {self.port.number} ({self.port.use}) is taken by"
        if self.owner is None:
            return f"{where} a process of another user"
        command = self.owner.command
        if len(command) > COMMAND_LENGTH:
            command = command[:COMMAND_LENGTH] + " …"
        return f"{where} pid {self.owner.pid} ({self.owner.program}): {command}"


def needed(file: ServeFile, environ: Mapping[str, str]) -> tuple[Port, ...]:
    """The ports with fixed numbers; Ray chooses its other ones among those that are free.

    Raises:
        BadConfig: A variable that moves one holds no port.
    """

    def movable(default: int, host: str, use: str, variable: str) -> Port:
        number = environ.get(variable, str(default))
        if not (number.isdecimal() and 0 < int(number) < 65536):
            raise BadConfig(variable, f"is {number[:50]!r}: expected a port, 1 .. 65535")
        return Port(int(number), host, use, variable)

    return (
        Port(file.port, file.host, "service", f"http_options.port in {file.path}"),
        Port(DASHBOARD_PORT, "127.0.0.1", "Ray dashboard"),
        movable(8404, "", "HAProxy statistics", "RAY_SERVE_HAPROXY_STATS_PORT"),
        movable(9101, "", "HAProxy metrics", "RAY_SERVE_HAPROXY_METRICS_PORT"),
        movable(8500, "127.0.0.1", "Serve's own proxy", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"),
    )


def taken(ports: Iterable[Port]) -> list[TakenPort]:
    """Those of the ports that cannot be listened on, with who does."""
    return [TakenPort(port, _owner(port.number)) for port in ports if not _is_free(port)]


def _is_free(port: Port) -> bool:
    family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the servers do: connections that still linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.number))
        except OSError as exc:
            return exc.errno != errno.EADDRINUSE
    return True


def _owner(number: int) -> Owner | None:
    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN or connection.pid is None:
            continue
        if not connection.laddr or connection.laddr.port != number:
            continue
        try:
            process = psutil.Process(connection.pid)
            environ = process.environ()
            home = environ.get(HOME_VARIABLE) if RUN_VARIABLE in environ else None
            return Owner(process.pid, process.name(), " ".join(process.cmdline()), home)
        except psutil.Error:
            continue
    return None
