"""The responses of a real HAProxy, with the configuration that Serve writes and we complete."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():  # deprecated pydantic features in Ray's classes
    warnings.simplefilter("ignore", DeprecationWarning)
    from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
    from ray.serve.config import HTTPOptions

from serve_app.lifecycle import haproxy_responses
from serve_app.lifecycle.haproxy import (
    BINARY_VARIABLE,
    PROGRAM,
    PYTHON_VARIABLE,
    RETRY_AFTER_S,
    TRUSTED_VARIABLE,
    find_haproxy,
)
from serve_app.refused_requests import FOLDER_VARIABLE, count

TIMEOUT_S = 20.0
SERVER_TIMEOUT_S = 60  # longer than a response takes on a busy machine
START_ATTEMPTS = 3
FORWARDED = ("X-Forwarded-For", "X-Forwarded-Proto")
LARGE = 5_000_000  # bytes; more than the buffers of HAProxy and of the sockets
Response = tuple[int, dict[str, str], bytes]
Start = Callable[..., int]


class HaproxyExited(Exception):
    """HAProxy exited before it listened."""


class Replica(http.server.BaseHTTPRequestHandler):
    """Responds 200, or with the status of a path such as `/503`, or hangs at `/hang`.

    Each response has the `X-Forwarded-…` headers of the request.
    """

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/hang":
            time.sleep(TIMEOUT_S)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(int(self.path[1:]) if self.path[1:].isdecimal() else 200)
        self.send_header("Content-Length", "0")
        for name in FORWARDED:
            self.send_header(f"Got-{name}", self.headers.get(name, "nothing"))
        self.end_headers()

    do_POST = do_GET  # noqa: N815 named by the standard library

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def replica_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Replica) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port on which no process listens, and which no other process can get."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts HAProxy with the applications of the given prefixes and ports; returns its port.

    Another process may take a port before HAProxy does, so a start is tried with other ports.
    """
    with ExitStack() as stack:

        def start_haproxy(
            program: Path = PROGRAM, server_timeout_s: int = SERVER_TIMEOUT_S, **ports: int
        ) -> int:
            haproxy_responses.write(tmp_path)
            monkeypatch.setenv(BINARY_VARIABLE, str(find_haproxy(os.environ)))
            monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
            monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
            errors = tmp_path / "stderr"
            for attempt in range(1, START_ATTEMPTS + 1):
                port = free_port()
                configuration = write_configuration(tmp_path, port, ports, server_timeout_s)
                with errors.open("wb") as stderr:
                    process = subprocess.Popen(
                        [program, "-db", "-f", configuration, "-dR"], stderr=stderr
                    )
                stack.callback(process.wait)
                stack.callback(process.terminate)
                try:
                    wait_until_open(port, process, errors)
                except HaproxyExited:
                    if attempt == START_ATTEMPTS:
                        raise
                else:
                    break
            return port

        yield start_haproxy


def write_configuration(
    folder: Path, port: int, ports: dict[str, int], server_timeout_s: int
) -> Path:
    """The configuration that Serve writes for applications at `/` (animals) and `/control`."""
    path = folder / "haproxy.cfg"
    backends = {
        name: BackendConfig(
            name=f"http-{name}",
            path_prefix="/" if name == "animals" else f"/{name}",
            app_name=name,
            servers=[ServerConfig("replica", "127.0.0.1", replica)],
        )
        for name, replica in ports.items()
    }
    options = HAProxyConfig(
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        stats_port=free_port(),
        metrics_port=free_port(),
        http_options=HTTPOptions(host="127.0.0.1", port=port),
        metrics_enabled=False,
        timeout_server_s=server_timeout_s,
        retries=0,
        is_head=True,
    )
    HAProxyApi(options, backends, str(path))._generate_config_file_internal()
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_open(port: int, process: subprocess.Popen[bytes], errors: Path) -> None:
    """Wait until a connection to HAProxy succeeds.

    Raises:
        HaproxyExited: With the exit code and the text of stderr.
        TimeoutError: After `TIMEOUT_S`, with the text of stderr.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if (exit_code := process.poll()) is not None:
            raise HaproxyExited(f"HAProxy exited with {exit_code}: {errors.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), TIMEOUT_S).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"HAProxy does not listen on port {port}: {errors.read_text()}")


def ask(connection: http.client.HTTPConnection, *request: Any) -> Response:
    connection.request(*request)
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return response.status, headers, response.read()


def ask_once(port: int, *request: Any) -> Response:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
        return ask(connection, *request)


def code_of(response: Response) -> tuple[int, str, str | None]:
    """The status, the code of the problem and Retry-After."""
    status, headers, body = response
    assert headers["content-type"] == "application/problem+json"
    return status, json.loads(body)["code"], headers.get("retry-after")


UNAVAILABLE = (503, "not_ready", str(RETRY_AFTER_S))


def test_without_an_application_every_request_gets_503(start: Start) -> None:
    """On a kept connection, and after a large body."""
    with closing(http.client.HTTPConnection("127.0.0.1", start(), timeout=TIMEOUT_S)) as kept:
        for path in ("/v1/classify", "/control/status", "/"):
            assert code_of(ask(kept, "GET", path)) == UNAVAILABLE
        assert code_of(ask(kept, "POST", "/v1/classify", bytes(LARGE))) == UNAVAILABLE
        status, headers, body = ask(kept, "HEAD", "/v1/classify")
        assert (status, headers["retry-after"], body) == (UNAVAILABLE[0], UNAVAILABLE[2], b"")


def test_refused_requests_are_counted(start: Start, dead_port: int) -> None:
    """Not those that ask whether the service is ready, nor those of the control plane."""
    port = start(animals=dead_port)  # HAProxy's own error
    for path in ("/v1/classify", "/readyz", "/control/status", "/v1/feedback"):
        assert ask_once(port, "GET", path)[0] == 503
    assert count() == 2


def test_only_the_missing_application_gets_503(start: Start, replica_port: int) -> None:
    port = start(control=replica_port)
    assert ask_once(port, "GET", "/control/status")[0] == 200
    assert code_of(ask_once(port, "GET", "/v1/classify")) == UNAVAILABLE


def test_the_control_plane_is_missing(start: Start, replica_port: int) -> None:
    port = start(animals=replica_port)
    assert ask_once(port, "GET", "/controlled")[0] == 200
    for path in ("/control", "/control/", "/control/status"):
        assert code_of(ask_once(port, "GET", path)) == UNAVAILABLE


def test_a_path_of_no_application_of_another_service_is_404(
    start: Start, replica_port: int
) -> None:
    port = start(small=replica_port)
    assert ask_once(port, "GET", "/small")[0] == 200
    assert ask_once(port, "GET", "/other")[0] == 404


def test_an_unreachable_replica_is_503(start: Start, dead_port: int) -> None:
    assert code_of(ask_once(start(animals=dead_port), "GET", "/")) == UNAVAILABLE


@pytest.mark.parametrize(("status", "retry_after"), [(503, str(RETRY_AFTER_S)), (429, None)])
def test_every_503_says_when_to_try_again(
    start: Start, replica_port: int, status: int, retry_after: str | None
) -> None:
    found, headers, _ = ask_once(start(animals=replica_port), "GET", f"/{status}")
    assert (found, headers.get("retry-after")) == (status, retry_after)


def test_a_replica_that_hangs_is_504(start: Start, replica_port: int) -> None:
    port = start(server_timeout_s=1, animals=replica_port)
    assert code_of(ask_once(port, "GET", "/hang")) == (504, "too_slow", None)


@pytest.mark.parametrize(
    ("trusted", "found"),
    [("", ("127.0.0.1", "nothing")), ("127.0.0.0/8", ("192.0.2.1", "https"))],
)
def test_only_a_trusted_proxy_forwards_headers(
    start: Start,
    replica_port: int,
    monkeypatch: pytest.MonkeyPatch,
    trusted: str,
    found: tuple[str, str],
) -> None:
    monkeypatch.setenv(TRUSTED_VARIABLE, trusted)
    forged = dict(zip(FORWARDED, ("192.0.2.1", "https"), strict=True))
    _, headers, _ = ask_once(start(animals=replica_port), "GET", "/", None, forged)
    assert tuple(headers[f"got-{name.lower()}"] for name in FORWARDED) == found


def test_a_request_that_does_not_arrive_is_408(
    start: Start, replica_port: int, tmp_path: Path
) -> None:
    program = tmp_path / "haproxy.sh"
    program.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'import sys; from serve_app.lifecycle import haproxy;"
        ' haproxy.REQUEST_TIMEOUT_S = 1; haproxy.main(sys.argv[1:])\' "$@"\n'
    )
    program.chmod(0o700)
    port = start(program, animals=replica_port)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbytes")
        response = http.client.HTTPResponse(slow)
        response.begin()
        assert response.status == 408
        assert json.loads(response.read())["code"] == "body_too_slow"
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost:")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
