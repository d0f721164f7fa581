"""The environment of `serve run`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from serve_app.deployment.scaling import ingress_scaling
from serve_app.lifecycle.environment import BUFFER_REQUESTS, FAST, of_service

SOCKETS = Path("/tmp/serve-app-abcdefgh")
SUN_PATH = 107  # bytes of a Unix socket's path, the closing zero left out


def of(inherited: dict[str, str]) -> dict[str, str]:
    return of_service(inherited, "f00d", Path("/home/alice/.serve-app"), SOCKETS)


def test_the_fast_settings_are_added_to_what_is_there() -> None:
    assert of({"PATH": "/bin"}).items() >= (FAST | {"PATH": "/bin"}).items()


def test_calls_are_counted_as_often_whatever_tells_serve_so() -> None:
    """`metrics_interval_s` in Serve 2.60, which announces that these variables will replace it."""
    said = [value for name, value in FAST.items() if name.endswith("METRIC_PUSH_INTERVAL_S")]
    assert [float(value) for value in said] == 2 * [ingress_scaling()["metrics_interval_s"]]


def test_haproxy_can_replay_a_body_of_100_kb_and_has_no_more_threads_than_cores() -> None:
    """Its buffer must hold the head as well."""
    assert int(FAST["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"]) >= 100_000 + 16_384
    assert FAST["RAY_SERVE_HAPROXY_BALANCE_ALGORITHM"].splitlines()[1].strip() == BUFFER_REQUESTS
    assert 1 <= int(FAST["RAY_SERVE_HAPROXY_NBTHREAD"]) <= (os.cpu_count() or 1)


def test_what_the_user_has_set_wins() -> None:
    own = {"RAY_SERVE_ENABLE_HA_PROXY": "0", "RAY_SERVE_HAPROXY_SOCKET_PATH": "/run/x.sock"}
    assert of(own).items() >= own.items()


def test_the_marks_are_those_of_this_start_also_inside_another_one() -> None:
    marks = of({"SERVE_APP_RUN": "0ld", "SERVE_APP_HOME": "relative"})
    assert (marks["SERVE_APP_RUN"], marks["SERVE_APP_HOME"]) == ("f00d", "/home/alice/.serve-app")


def test_socket_paths_fit_the_kernel() -> None:
    """Serve puts a node id between, HAProxy binds to a name with its pid before it renames."""
    folder = tempfile.mkdtemp(prefix="serve-app-", dir="/tmp")
    Path(folder).rmdir()
    assert len(folder) == len(str(SOCKETS))
    for name in ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"):
        path = Path(of({})[name])
        assert len(f"{path.parent}/{'0' * 56}/{path.name}") <= SUN_PATH
    admin = Path(of({})["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    assert len(f"{admin.parent}/{'0' * 56}/{admin.name}.4194304.tmp") <= SUN_PATH
