"""The environment of `serve run`."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import pytest

from serve_app.deployment.scaling import ingress_scaling
from serve_app.errors import BadHome, StartBlocked
from serve_app.home import Home
from serve_app.lifecycle.environment import (
    CLIENT_TIMEOUT_S,
    SERVE_DEFAULTS,
    SERVER_TIMEOUT_S,
    check_environment,
    service_environment,
)
from serve_app.lifecycle.haproxy import (
    BINARY_VARIABLE,
    PROGRAM,
    SERVE_VARIABLE,
    TRUSTED_VARIABLE,
)
from serve_app.rules.split import MAX_TIMEOUT_S

with warnings.catch_warnings():  # deprecated pydantic features in Ray's classes
    warnings.simplefilter("ignore", DeprecationWarning)
    from serve_app.serving.serve_pools import CALL_TIMEOUT_S

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
    assert 1 <= int(SERVE_DEFAULTS["RAY_SERVE_HAPROXY_NBTHREAD"]) <= (os.cpu_count() or 1)


def test_a_slow_prediction_is_not_repeated_at_another_replica() -> None:
    """A candidate that times out, then stable."""
    assert SERVER_TIMEOUT_S > MAX_TIMEOUT_S + CALL_TIMEOUT_S
    assert SERVE_DEFAULTS["RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"] == str(SERVER_TIMEOUT_S)


def test_an_idle_connection_is_closed_after_a_minute() -> None:
    assert float(SERVE_DEFAULTS["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"]) == CLIENT_TIMEOUT_S <= 60


def test_serve_runs_our_program_and_it_the_haproxy_of_the_user() -> None:
    variables = environment({SERVE_VARIABLE: "/opt/haproxy"})
    assert (variables[SERVE_VARIABLE], variables[BINARY_VARIABLE]) == (str(PROGRAM), "/opt/haproxy")
    again = environment(variables)  # a start in the environment of another one
    assert again[BINARY_VARIABLE] not in (str(PROGRAM), "")
    assert os.access(PROGRAM, os.X_OK)


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


@pytest.mark.parametrize("trusted", ["", "10.0.0.7", "10.0.0.7, 192.168.0.0/16 fd00::/8"])
def test_addresses_and_networks_are_trusted_proxies(trusted: str, tmp_path: Path) -> None:
    check_environment({TRUSTED_VARIABLE: trusted}, Home(tmp_path))


@pytest.mark.parametrize("trusted", ["gateway", "10.0.0.7; 10.0.0.8", "10.0.0.0/33"])
def test_another_trusted_proxy_blocks_the_start(trusted: str, tmp_path: Path) -> None:
    with pytest.raises(StartBlocked, match=r"SERVE_APP_TRUSTED_PROXIES has .*: expected addresses"):
        check_environment({TRUSTED_VARIABLE: trusted}, Home(tmp_path))


@pytest.mark.parametrize("name", ["missing", "not_executable", "folder"])
@pytest.mark.parametrize("is_ours", [True, False])
def test_a_program_that_cannot_be_executed_blocks_the_start(
    name: str, is_ours: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "not_executable").touch(mode=0o600)
    (tmp_path / "folder").mkdir()
    program = tmp_path / name
    if is_ours:
        monkeypatch.setattr("serve_app.lifecycle.environment.PROGRAM", program)
    with pytest.raises(StartBlocked, match=rf"run `chmod \+x {program}`"):
        check_environment({} if is_ours else {SERVE_VARIABLE: str(program)}, Home(tmp_path))


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "20 GiB"])
def test_a_wrong_database_limit_blocks_the_start(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVE_APP_DATABASE_MAX_GIB", limit)
    with pytest.raises(BadHome, match=f"SERVE_APP_DATABASE_MAX_GIB is {limit}: expected"):
        check_environment({}, Home(tmp_path))
