"""The environment of `serve run`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from serve_app.deployment.scaling import ingress_scaling
from serve_app.lifecycle.environment import BUFFER_REQUESTS, SERVE_DEFAULTS, service_environment

SOCKETS = Path("/tmp/serve-app-abcdefgh")
MAX_SOCKET_PATH = 107  # bytes, without the terminating zero


def environment(inherited: dict[str, str]) -> dict[str, str]:
    return service_environment(inherited, "f00d", Path("/home/alice/.serve-app"), SOCKETS)


def test_defaults_are_added_to_the_inherited_environment() -> None:
    assert environment({"PATH": "/bin"}).items() >= (SERVE_DEFAULTS | {"PATH": "/bin"}).items()


def test_both_settings_give_the_same_metrics_interval() -> None:
    """Serve 2.60 reads `metrics_interval_s`; later versions will read these variables instead."""
    values = [
        value for name, value in SERVE_DEFAULTS.items() if name.endswith("METRIC_PUSH_INTERVAL_S")
    ]
    assert [float(value) for value in values] == 2 * [ingress_scaling()["metrics_interval_s"]]


def test_haproxy_buffers_100_kb_and_has_at_most_one_thread_per_core() -> None:
    """The buffer also holds the headers."""
    assert int(SERVE_DEFAULTS["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"]) >= 100_000 + 16_384
    assert (
        SERVE_DEFAULTS["RAY_SERVE_HAPROXY_BALANCE_ALGORITHM"].splitlines()[1].strip()
        == BUFFER_REQUESTS
    )
    assert 1 <= int(SERVE_DEFAULTS["RAY_SERVE_HAPROXY_NBTHREAD"]) <= (os.cpu_count() or 1)


def test_user_settings_take_precedence() -> None:
    settings = {"RAY_SERVE_ENABLE_HA_PROXY": "0", "RAY_SERVE_HAPROXY_SOCKET_PATH": "/run/x.sock"}
    assert environment(settings).items() >= settings.items()


def test_run_id_and_home_of_an_outer_start_are_replaced() -> None:
    variables = environment({"SERVE_APP_RUN": "0ld", "SERVE_APP_HOME": "relative"})
    assert (variables["SERVE_APP_RUN"], variables["SERVE_APP_HOME"]) == (
        "f00d",
        "/home/alice/.serve-app",
    )


def test_socket_paths_fit_the_length_limit() -> None:
    """Serve adds a node id; HAProxy first binds to a name with its pid and renames it later."""
    folder = tempfile.mkdtemp(prefix="serve-app-", dir="/tmp")
    Path(folder).rmdir()
    assert len(folder) == len(str(SOCKETS))
    for name in ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"):
        path = Path(environment({})[name])
        assert len(f"{path.parent}/{'0' * 56}/{path.name}") <= MAX_SOCKET_PATH
    admin = Path(environment({})["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    assert len(f"{admin.parent}/{'0' * 56}/{admin.name}.4194304.tmp") <= MAX_SOCKET_PATH
