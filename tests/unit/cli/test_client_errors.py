"""What a command says when the service is not there, or something else is."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from serve_app.client import media_type
from serve_app.lifecycle import down as lifecycle_down
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


def always(response: Response) -> Starlette:
    async def answer(_: Request) -> Response:
        return response

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PUT"])])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "cat.png").write_bytes(b"never read")
    return tmp_path / "cat.png"


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:2]))
def test_a_service_that_does_not_run_is_told_with_how_to_start_one(
    command: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("SERVE_APP_URL", f"http://127.0.0.1:{port}")
    done = command(*arguments)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith(f"Error: no service answers at http://127.0.0.1:{port} (")
    assert line.endswith("start one with serve-app up, or set SERVE_APP_URL")


@pytest.mark.parametrize(
    "url", ["localhost:8000", "http://", "http://localhost:port", "http://[::1", "ftp://x", "x y"]
)
def test_a_url_that_leads_nowhere_is_told_in_one_line(
    command: Command, image: Path, url: str
) -> None:
    done = command("classify", image, "--url", url)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith(f"Error: no service answers at {url} (")


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
def test_what_is_not_this_service_is_told_in_one_line(
    command: Command, serve: Serve, arguments: tuple[str, ...], response: Response
) -> None:
    """Such as the proxy without its application, while it is replaced."""
    url = serve(always(response))
    done = command(*arguments)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith(f"Error: {url}/")
    assert f"answered {response.status_code} and no JSON object" in line


@pytest.mark.parametrize(
    "arguments", [("status",), ("rule", "show"), ("revision", "list"), ("audit",)]
)
def test_another_service_that_speaks_json_is_told_apart(
    command: Command, serve: Serve, arguments: tuple[str, ...]
) -> None:
    serve(always(JSONResponse({"hello": "world"})))
    done = command(*arguments)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.endswith("it is not this service, or another version of it")


def test_a_rejection_is_told_as_the_service_says_it(command: Command, serve: Serve) -> None:
    serve(always(JSONResponse({"detail": "no rule is in force: deploy a good one"}, 503)))
    assert command("status").err.strip() == (
        "Error: no rule is in force: deploy a good one (HTTP 503)"
    )


def test_an_option_goes_before_the_variable(
    command: Command, serve: Serve, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve(always(JSONResponse({"detail": "here"}, 503)))
    monkeypatch.setenv("SERVE_APP_URL", "http://127.0.0.1:1")
    assert "here (HTTP 503)" in command("classify", image, "--url", f"{url}/").err


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jpg", "image/jpeg"), ("a.PNG", "image/png"), ("a.bmp", "image/bmp"),
     ("a.gif", "image/gif"), ("image", "image/jpeg"), ("a.txt", "text/plain")],
)  # fmt: skip
def test_the_media_type_of_a_photograph_is_told_by_its_name(name: str, expected: str) -> None:
    assert media_type(Path("/images") / name) == expected


def test_a_wrong_home_is_told_in_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SERVE_APP_HOME", str(tmp_path / "file"))
    done: Any = command("status")
    assert (done.code, done.err.startswith("Error: ")) == (1, True)
    assert "set SERVE_APP_HOME" in done.err


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
def test_trouble_with_a_file_is_told_with_its_name_if_it_has_one(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: OSError, line: str
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(lifecycle_down, "down", fail)
    done = command("down")
    assert (done.code, done.err.strip()) == (1, line)
