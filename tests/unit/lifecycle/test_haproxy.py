"""The configuration of HAProxy as we complete it; tests/integration/test_proxy.py runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serve_app.errors import NotReady, Problem, TooSlow
from serve_app.http.problems import problem_response
from serve_app.lifecycle import haproxy, haproxy_responses
from serve_app.lifecycle.haproxy import complete
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
    configuration = SERVE.format(host="*") + haproxy._ROUTES
    completed = complete(configuration, tmp_path, trusted)
    assert f"    http-request del-header X-Forwarded-Proto{unless}\n" in completed
    assert f"    http-request set-header X-Forwarded-For %[src]{unless}\n" in completed
