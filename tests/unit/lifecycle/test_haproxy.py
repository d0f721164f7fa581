"""The configuration of HAProxy as we complete it; tests/integration/test_proxy.py runs it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from serve_app.errors import NotReady, Problem, TooSlow
from serve_app.http.problems import problem_response
from serve_app.lifecycle import haproxy, haproxy_responses
from serve_app.lifecycle.haproxy import (
    BINARY_VARIABLE,
    PROGRAM,
    PYTHON_VARIABLE,
    SERVE_VARIABLE,
    TRUSTED_VARIABLE,
    complete,
    find_haproxy,
)
from serve_app.refused_requests import FOLDER_VARIABLE
from serve_app.trace import Trace

SERVE = """\
global
    stats socket /tmp/a.sock mode 666 level admin expose-fd listeners
defaults
    balance roundrobin
frontend prometheus
    bind :9101
frontend http_frontend
    bind {host}:8000
backend http-animals
listen stats
  bind *:8404
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "*", "::1"])
def test_statistics_and_metrics_are_on_the_interface_of_the_service(
    host: str, tmp_path: Path
) -> None:
    lines = complete(SERVE.format(host=host), tmp_path).splitlines()
    binds = [line.split()[1] for line in lines if "bind " in line]
    assert binds == [f"{host}:9101", f"{host}:8000", f"{host}:8404"]


def test_only_this_user_may_command_haproxy(tmp_path: Path) -> None:
    assert "stats socket /tmp/a.sock mode 600 " in complete(SERVE.format(host="*"), tmp_path)


def test_another_configuration_stays_as_it_is(tmp_path: Path) -> None:
    text = "global\n    maxconn 10\nlisten all\n    bind 127.0.0.1:80\n"
    assert complete(text, tmp_path) == text


@pytest.mark.parametrize("problem", [NotReady("wait"), TooSlow('"quoted" – ü'), Problem("broken")])
def test_a_problem_has_the_content_that_the_applications_give_it(problem: Problem) -> None:
    response = problem_response(problem, Trace("id", "GET", "/"))
    assert json.loads(haproxy_responses.body(problem)) == json.loads(bytes(response.body))


@pytest.mark.parametrize(
    ("trusted", "unless"),
    [((), ""), (("10.0.0.7", "fd00::/8"), " unless { src 10.0.0.7 fd00::/8 }")],
)
def test_forwarded_headers_are_believed_from_trusted_proxies_only(
    tmp_path: Path, trusted: tuple[str, ...], unless: str
) -> None:
    completed = complete(SERVE.format(host="*"), tmp_path, trusted)
    assert (
        "frontend http_frontend\n"
        "    bind *:8000\n"
        f"    http-request set-header X-Forwarded-For %[src]{unless}\n"
        f"    http-request del-header X-Forwarded-Proto{unless}\n"
    ) in completed


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The command lines that this process would become."""
    commands: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, command: commands.append(command))
    monkeypatch.setenv(BINARY_VARIABLE, "/opt/haproxy")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.delenv(TRUSTED_VARIABLE, raising=False)
    return commands


def test_haproxy_runs_with_the_completed_configuration(
    tmp_path: Path, executed: list[list[str]]
) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(SERVE.format(host="*"))
    haproxy.main(["-db", "-f", str(path)])
    assert executed == [["/opt/haproxy", "-db", "-f", str(path)]]
    assert path.read_text() == complete(SERVE.format(host="*"), tmp_path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "configuration",
    [
        SERVE.replace("frontend http_frontend\n", "frontend http_frontend\n    mode http\n"),
        SERVE.replace("http_frontend", "web"),
        "frontend http_frontend",
        "",
    ],
)
def test_without_the_rules_for_forged_headers_haproxy_does_not_run(
    configuration: str, tmp_path: Path, executed: list[list[str]]
) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(configuration)
    with pytest.raises(SystemExit, match=r"no line `frontend http_frontend` with a `bind` line"):
        haproxy.main(["-f", str(path)])
    assert (executed, path.read_text()) == ([], configuration)


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("variable", [BINARY_VARIABLE, FOLDER_VARIABLE])
def test_a_missing_variable_is_named(
    variable: str, value: str | None, executed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match=rf"^{variable} is not set: start the service with"):
        haproxy.main(["-f", "haproxy.cfg"])
    assert executed == []


def test_without_the_interpreter_the_program_names_its_variable() -> None:
    done = subprocess.run([PROGRAM], env={}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{PYTHON_VARIABLE}: is not set: start the service" in done.stderr


@pytest.mark.parametrize("program", [PROGRAM, Path("/elsewhere/serve_app/lifecycle/haproxy.sh")])
def test_our_program_does_not_run_itself(program: Path) -> None:
    assert find_haproxy({SERVE_VARIABLE: str(program)}) == find_haproxy({})
