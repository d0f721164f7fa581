"""The environment variables of `serve run`.

A variable that the user has set takes precedence over the values here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

from serve_app.errors import StartBlocked
from serve_app.home import HOME_VARIABLE, Home
from serve_app.lifecycle.haproxy import (
    BINARY_VARIABLE,
    PROGRAM,
    PYTHON_VARIABLE,
    SERVE_VARIABLE,
    TRUSTED_VARIABLE,
    find_haproxy,
    trusted_proxies,
)
from serve_app.refused_requests import FOLDER_VARIABLE

# Every process of a start inherits this and the home, so its environment shows the start.
RUN_VARIABLE = "SERVE_APP_RUN"

# When an ingress replica dies, HAProxy resends its requests to another replica if its buffer held
# the whole request before the first byte was forwarded: here the headers and a body of 120 kB. A
# buffer of 1 MiB costs 0.4 ms of CPU time per request.
REPLAY_BUFFER_BYTES = 128 * 1024
CLIENT_TIMEOUT_S = 60  # without a byte from a client that should send
# Without a byte of a response of the data plane. Longer than its deadlines, so that only a replica
# that hangs exceeds it: HAProxy then repeats the request at another replica.
SERVER_TIMEOUT_S = 40
# Of each process: a line per request is 1.1 kB, so the logs of an ingress have its last 230,000
# requests. Ray's own are 512 MB and five old ones.
LOG_BYTES, OLD_LOGS = 64 * 2**20, 3
MAX_HAPROXY_THREADS = 4  # Serve's default; more threads than cores wait for each other

# - HAProxy instead of the Python proxy, gRPC between replicas.
# - Draining takes 1 s instead of 30 s, and requests of a dead ingress replica are retried.
# - The proxies get a minute to start on a busy machine: `serve run` fails after three timeouts.
# - A dead HAProxy is replaced after three checks of one second. A busy proxy has five seconds to
#   respond to each.
# - A replica that is unhealthy does not respond, so it is killed instead of asked to stop.
# - Ongoing calls are counted every second, also by a Serve version that replaces
#   `metrics_interval_s` (see `serve_app.deployment.scaling`).
# - HAProxy does not report each request to Serve, which would cost 0.1 ms; the ingress replicas do.
# - Processes export metrics once a second instead of ten times, which saves 1 % of a core each.
# - The logs are rotated earlier.
# - Our middleware checks the headers that Serve reads before the application.
SERVE_DEFAULTS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "20",
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response response-timeout 503",
    "RAY_SERVE_HAPROXY_RETRIES": "10",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(REPLAY_BUFFER_BYTES),
    "RAY_SERVE_HAPROXY_NBTHREAD": str(min(os.cpu_count() or 1, MAX_HAPROXY_THREADS)),
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
    "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": "roundrobin",
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(CLIENT_TIMEOUT_S),
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(SERVER_TIMEOUT_S),
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "5",
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_ROTATION_MAX_BYTES": str(LOG_BYTES),
    "RAY_ROTATION_BACKUP_COUNT": str(OLD_LOGS),
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.http.header_guard.middlewares",
}


def check_environment(environ: Mapping[str, str], home: Home) -> None:
    """Check the variables that a running service could only reject later.

    Raises:
        StartBlocked: A trusted proxy is no address, or a program cannot be executed.
        BadHome: The limit of the database is no number.
    """
    for address in trusted_proxies(environ):
        try:
            ip_network(address, strict=False)
        except ValueError as exc:
            raise StartBlocked(
                f"{TRUSTED_VARIABLE} has {address[:50]}: expected addresses or networks with"
                " commas between them, such as 10.0.0.7, 192.168.0.0/16"
            ) from exc
    for program in filter(None, (str(PROGRAM), find_haproxy(environ))):
        if not (Path(program).is_file() and os.access(program, os.X_OK)):
            raise StartBlocked(
                f"{program}, which runs HAProxy, is no file that you may execute: check the path,"
                f" and run `chmod +x {program}`"
            )
    _ = home.max_database_bytes


def service_environment(
    inherited: Mapping[str, str], run_id: str, home: Path, sockets: Path
) -> dict[str, str]:
    """The environment of `serve run`.

    Args:
        run_id: Identifies the processes of this start.
        sockets: A private folder for HAProxy's files; its path has at most 27 characters. Serve
            appends a node id of 57 characters and a file name, HAProxy up to 12 characters, and the
            path of a Unix socket is limited to 107.
    """
    haproxy = {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(sockets / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(sockets / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(sockets / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(sockets),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(sockets / "server-state"),
    }
    if binary := find_haproxy(inherited):
        inherited = {
            **inherited,
            SERVE_VARIABLE: str(PROGRAM),
            BINARY_VARIABLE: binary,
            PYTHON_VARIABLE: sys.executable,
            FOLDER_VARIABLE: str(sockets),
        }
    return {
        **SERVE_DEFAULTS,
        **haproxy,
        **inherited,
        RUN_VARIABLE: run_id,
        HOME_VARIABLE: str(home),
    }
