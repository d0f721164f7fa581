"""The environment that Ray and Serve are started with.

Serve reads these variables in the process that starts it; a variable that the user has set wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from serve_app.home import HOME_VARIABLE

# Every process of a start inherits this and the home: whose it is can be read from itself.
RUN_VARIABLE = "SERVE_APP_RUN"

# HAProxy instead of the Python proxy, gRPC between replicas, one second of draining instead of
# thirty, a retry elsewhere when an ingress replica dies, and a minute for the proxies to start on a
# busy machine: `serve run` fails when they have missed three of these waits. Calls are counted
# every second, also by a Serve that has replaced `metrics_interval_s` (see
# `serve_app.deployment.scaling`). And our own check of the headers that Serve reads before we are
# asked.
FAST = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "20",
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response response-timeout 503",
    "RAY_SERVE_HAPROXY_RETRIES": "10",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "1048576",  # bytes; a larger request is not retried
    "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": "roundrobin",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.http.doorway.middlewares",
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
