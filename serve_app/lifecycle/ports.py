"""The ports of the service, and the processes that occupy them."""

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
MAX_COMMAND_LENGTH = 100  # characters of a command in a message


@dataclass(frozen=True)
class Port:
    """A port that the service listens on."""

    number: int
    host: str  # "" is all interfaces
    use: str
    setting: str | None = None  # that changes the port


@dataclass(frozen=True)
class Owner:
    """The process that listens on a port."""

    pid: int
    program: str
    command: str
    home: str | None = None  # the home directory, if serve-app started the process


@dataclass(frozen=True)
class TakenPort:
    """A port on which another process listens."""

    port: Port
    owner: Owner | None  # None if this user may not see the process

    def __str__(self) -> str:
        text = f"port {self.port.number} ({self.port.use}) is taken by"
        if self.owner is None:
            return f"{text} a process of another user"
        command = self.owner.command
        if len(command) > MAX_COMMAND_LENGTH:
            command = command[:MAX_COMMAND_LENGTH] + " …"
        return f"{text} pid {self.owner.pid} ({self.owner.program}): {command}"


def required_ports(file: ServeFile, environ: Mapping[str, str]) -> tuple[Port, ...]:
    """The ports with fixed numbers; Ray picks free ones for its other ports.

    HAProxy's statistics and metrics are on the interface of the service; see `haproxy`.

    Raises:
        BadConfig: A variable that sets a port is not a port number.
    """

    def configurable(default: int, host: str, use: str, variable: str) -> Port:
        number = environ.get(variable, str(default))
        if not (number.isdecimal() and 0 < int(number) < 65536):
            raise BadConfig(variable, f"is {number[:50]!r}: expected a port, 1 .. 65535")
        return Port(int(number), host, use, variable)

    return (
        Port(file.port, file.host, "service", f"http_options.port in {file.path}"),
        Port(DASHBOARD_PORT, "127.0.0.1", "Ray dashboard"),
        configurable(8404, file.host, "HAProxy statistics", "RAY_SERVE_HAPROXY_STATS_PORT"),
        configurable(9101, file.host, "HAProxy metrics", "RAY_SERVE_HAPROXY_METRICS_PORT"),
        configurable(8500, "127.0.0.1", "Serve's own proxy", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"),
    )


def find_taken_ports(ports: Iterable[Port]) -> list[TakenPort]:
    """The ports on which another process listens."""
    return [TakenPort(port, _find_owner(port.number)) for port in ports if not _is_free(port)]


def _is_free(port: Port) -> bool:
    family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the servers do, so that connections in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.number))
        except OSError as exc:
            return exc.errno != errno.EADDRINUSE
    return True


def _find_owner(number: int) -> Owner | None:
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
