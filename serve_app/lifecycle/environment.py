"""The environment variables of `serve run`.

A variable that the user has set takes precedence over the values here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from serve_app.home import HOME_VARIABLE

# Every process of a start inherits this and the home, so its environment shows the start.
RUN_VARIABLE = "SERVE_APP_RUN"

# When an ingress replica dies, HAProxy resends its requests to another replica if its buffer held
# the whole request before the first byte was forwarded: here the headers and a body of 120 kB. A
# buffer of 1 MiB costs 0.4 ms of CPU time per request.
REPLAY_BUFFER_BYTES = 128 * 1024
# This option makes HAProxy wait for the whole body. Serve has no variable for it, but Serve writes
# the name of the balance algorithm at the end of a line of HAProxy's configuration, so a line break
# in that name adds the option as the next line.
BUFFER_REQUESTS = "option http-buffer-request"
MAX_HAPROXY_THREADS = 4  # Serve's default; more threads than cores wait for each other

# - HAProxy instead of the Python proxy, gRPC between replicas.
# - Draining takes 1 s instead of 30 s, and requests of a dead ingress replica are retried.
# - The proxies get a minute to start on a busy machine: `serve run` fails after three timeouts.
# - Ongoing calls are counted every second, also by a Serve version that replaces
#   `metrics_interval_s` (see `serve_app.deployment.scaling`).
# - HAProxy does not report each request to Serve, which would cost 0.1 ms; the ingress replicas do.
# - Processes export metrics once a second instead of ten times, which saves 1 % of a core each.
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
    "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": f"roundrobin\n    {BUFFER_REQUESTS}",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.http.header_guard.middlewares",
}


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
    return {
        **SERVE_DEFAULTS,
        **haproxy,
        **inherited,
        RUN_VARIABLE: run_id,
        HOME_VARIABLE: str(home),
    }
