"""The environment that Ray and Serve are started with.

Serve reads these variables in the process that starts it; a variable that the user has set wins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from serve_app.home import HOME_VARIABLE

# Every process of a start inherits this and the home: whose it is can be read from itself.
RUN_VARIABLE = "SERVE_APP_RUN"

# When an ingress replica dies, HAProxy sends its requests to another one, if its buffer held the
# whole request before the first byte was sent on: here the head and a body of 120 kB. A buffer of
# 1 MiB costs every request 0.4 ms of CPU time.
REPLAYED_BYTES = 128 * 1024
# So HAProxy waits for the whole body. Serve has no variable for that; the name of the algorithm
# ends a line of the configuration that it writes, and this is the next one.
BUFFER_REQUESTS = "option http-buffer-request"
MAX_HAPROXY_THREADS = 4  # Serve's default; more threads than cores wait for one another

# HAProxy instead of the Python proxy, gRPC between replicas, one second of draining instead of
# thirty, a retry elsewhere when an ingress replica dies, and a minute for the proxies to start on a
# busy machine: `serve run` fails when they have missed three of these waits. Calls are counted
# every second, also by a Serve that has replaced `metrics_interval_s` (see
# `serve_app.deployment.scaling`). HAProxy does not report each request to Serve, which would cost
# 0.1 ms: the ingress replicas report them then. Every process passes its metrics on once a second,
# not ten times, which takes a hundredth of a core each. And our own check of the headers that Serve
# reads before we are asked.
FAST = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "20",
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response response-timeout 503",
    "RAY_SERVE_HAPROXY_RETRIES": "10",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(REPLAYED_BYTES),
    "RAY_SERVE_HAPROXY_NBTHREAD": str(min(os.cpu_count() or 1, MAX_HAPROXY_THREADS)),
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
    "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": f"roundrobin\n    {BUFFER_REQUESTS}",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.http.header_guard.middlewares",
}


def of_service(
    inherited: Mapping[str, str], run_id: str, home: Path, sockets: Path
) -> dict[str, str]:
    """The environment of `serve run`.

    Args:
        run_id: Marks every process of this start.
        sockets: A private folder for HAProxy's files. Serve adds 57 characters of node id and a
            file name, HAProxy up to 12, and the path of a Unix socket ends at 107: so at most 27.
    """
    haproxy = {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(sockets / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(sockets / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(sockets / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(sockets),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(sockets / "server-state"),
    }
    return {**FAST, **haproxy, **inherited, RUN_VARIABLE: run_id, HOME_VARIABLE: str(home)}
