"""The error messages of commands when the service is not running, or another one is."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from serve_app.cli import service as service_command
from serve_app.client import in_words, media_type
from serve_app.home import Home
from tests.unit.cli.conftest import ROOT, Command, Serve

COMMANDS = [
    ("status",),
    ("traffic",),
    ("deploy", str(ROOT / "deploy_configs/base.yaml")),
    ("update", "v2", "--method", "rolling"),
    ("rule", "show"),
    ("rule", "explain"),
    ("revision", "list"),
    ("revision", "restore", "1"),
]


def respond_always(response: Response) -> Starlette:
    async def respond(_: Request) -> Response:
        return response

    return Starlette(routes=[Route("/{path:path}", respond, methods=["GET", "POST", "PUT"])])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "cat.png").write_bytes(b"never read")
    return tmp_path / "cat.png"


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:2]))
def test_without_a_service_the_error_says_how_to_start_one(
    command: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("SERVE_APP_URL", f"http://127.0.0.1:{port}")
    result = command(*arguments)
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert line.startswith(f"Error: no service is reachable at http://127.0.0.1:{port} (Connect")
    assert line.endswith("start one with serve-app up, or set SERVE_APP_URL")


@pytest.mark.parametrize(
    "url", ["localhost:8000", "http://", "http://localhost:port", "http://[::1", "ftp://x", "x y"]
)
def test_an_invalid_url_is_a_one_line_error(command: Command, image: Path, url: str) -> None:
    result = command("classify", image, "--url", url)
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert line.startswith(f"Error: no service is reachable at {url} (")


@pytest.mark.parametrize(
    "response",
    [
        PlainTextResponse("Path '/v1/rule' not found.", 404),
        PlainTextResponse("fine"),
        JSONResponse([1, 2]),
        JSONResponse("fine"),
        JSONResponse(["wrong"], 500),
        Response(status_code=503),
    ],
    ids=lambda response: f"{response.status_code} {response.body.decode()[:10]}",
)
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:2]))
def test_an_unexpected_response_is_a_one_line_error(
    command: Command, serve: Serve, arguments: tuple[str, ...], response: Response
) -> None:
    """For example the proxy while its application is replaced."""
    url = serve(respond_always(response))
    result = command(*arguments)
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert line.startswith(f"Error: {url}/")
    assert f"responded {response.status_code} without a JSON object" in line


@pytest.mark.parametrize(
    "arguments", [("status",), ("rule", "show"), ("revision", "list"), ("audit",)]
)
def test_json_of_another_service_is_an_error(
    command: Command, serve: Serve, arguments: tuple[str, ...]
) -> None:
    serve(respond_always(JSONResponse({"hello": "world"})))
    result = command(*arguments)
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert line.endswith("it is from another service, or another version of this one")


@pytest.mark.parametrize(
    "content",
    [
        {"revisions": 5, "audit": None, "rule": [], "applications": "", "experiments": {"a": 1}},
        {"revisions": [{}], "audit": [{}], "rule": {}, "applications": {}, "experiments": [{}]},
        {"revisions": [1], "audit": ["a"], "rule": 1, "applications": {"a": 1}, "experiments": [0]},
    ],
)
@pytest.mark.parametrize(
    "arguments",
    [("status",), ("rule", "show"), ("revision", "list"), ("audit",), ("experiment", "list")],
)
def test_json_of_another_version_is_a_one_line_error(
    command: Command, serve: Serve, arguments: tuple[str, ...], content: dict[str, Any]
) -> None:
    serve(respond_always(JSONResponse(content)))
    result = command(*arguments)
    (line,) = result.err.splitlines()
    assert (result.code, "another version" in line) == (1, True)


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("GET /control/reviews lists the images", "serve-app review list lists the images"),
        ("see GET /control/status", "see serve-app status"),
        ("query.since: String should have 1 character", "since: it should have 1 character"),
        ("X-Region is 'x'; X-Model-Version", "--region is 'x'; --version"),
        ("the image is cut short", "the image is cut short"),
    ],
)
def test_a_detail_names_commands_and_options(detail: str, expected: str) -> None:
    assert in_words(detail) == expected


def test_the_detail_of_a_rejection_is_printed(command: Command, serve: Serve) -> None:
    serve(respond_always(JSONResponse({"detail": "no rule is in force: deploy a valid one"}, 503)))
    assert command("status").err.strip() == (
        "Error: no rule is in force: deploy a valid one (HTTP 503)"
    )


def test_the_url_option_takes_precedence_over_the_variable(
    command: Command, serve: Serve, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve(respond_always(JSONResponse({"detail": "here"}, 503)))
    monkeypatch.setenv("SERVE_APP_URL", "http://127.0.0.1:1")
    assert "here (HTTP 503)" in command("classify", image, "--url", f"{url}/").err


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jpg", "image/jpeg"), ("a.PNG", "image/png"), ("a.bmp", "image/bmp"),
     ("a.gif", "image/gif"), ("image", "image/jpeg"), ("a.txt", "text/plain")],
)  # fmt: skip
def test_the_media_type_follows_from_the_file_name(name: str, expected: str) -> None:
    assert media_type(Path("/images") / name) == expected


def test_an_invalid_home_is_a_one_line_error(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SERVE_APP_HOME", str(tmp_path / "file"))
    result: Any = command("status")
    assert (result.code, result.err.startswith("Error: ")) == (1, True)
    assert "set SERVE_APP_HOME" in result.err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "Error: No space left on device"),
        (
            OSError(errno.ENOENT, os.strerror(errno.ENOENT), "a"),
            "Error: a: No such file or directory",
        ),
        (OSError("the image is cut off"), "Error: the image is cut off"),
    ],
)
def test_an_os_error_is_printed_with_its_file_name(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: OSError, line: str
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(service_command, "stop_service", fail)
    result = command("down")
    assert (result.code, result.err.strip()) == (1, line)


def test_an_unexpected_error_is_one_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: dict[str, str] = {}
    monkeypatch.setattr(service_command, "stop_service", lambda *_: nothing["nothing"])
    result = command("down")
    (line,) = result.err.splitlines()
    assert (result.code, line.startswith("Error: unexpected KeyError ('nothing')")) == (1, True)


@pytest.mark.parametrize("user", ["a\nb", "\x00", "", " ", "\udcff"])
def test_a_value_that_no_header_can_have_is_a_usage_error(
    command: Command, home: Home, user: str
) -> None:
    result = command("rule", "explain", "--user", user)
    assert (result.code, "--user" in result.err) == (2, True)


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    """As `| head -1` does."""
    arguments = [sys.executable, "-m", "serve_app", "models", "show", "v2", "--json"]
    with subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
