"""The compared systems: start command and request format of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from benchmarks.environments import SERVING
from benchmarks.images import RequestFormat
from serve_app.lifecycle.environment import SERVE_DEFAULTS

OURS: Final = "serve-app"
BARE: Final = "Ray Serve, bare"
TORCH: Final = "Ray Serve, torch"
FASTAPI: Final = "FastAPI"
LITSERVE: Final = "LitServe"
BENTOML: Final = "BentoML"
MOSEC: Final = "Mosec"
MLSERVER: Final = "MLServer"

# HAProxy settings that bare Ray Serve does not get: the large buffer, with which HAProxy waits for
# the whole body, and the header check. All other settings are those of serve-app.
NOT_BARE = ("RAY_SERVE_HAPROXY_TUNE_BUFSIZE", "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH")
BARE_ENVIRONMENT = {
    name: value for name, value in SERVE_DEFAULTS.items() if name not in NOT_BARE
} | {"RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": "roundrobin"}
RAY_PORTS = (8000, 8265, 8404, 9101)  # HTTP, dashboard, statistics and metrics of HAProxy


@dataclass(frozen=True)
class System:
    """A system that serves the model.

    Attributes:
        peer: Its environment: a folder under `peers` with requirements, `SERVING`, or None for the
            one that runs the benchmarks.
        command: Name of the executable in that environment, and arguments.
        ports: Ports that must be free; the first one receives the requests.
        environment: Added to the inherited environment, from which RAY_ variables are removed.
        ready_path: GET returns 200 when the system is ready; None: it has no such path.
        path: Receives the requests.
        request_format: The image, a form with the image as file `images`, or an inference request
            with the image as base64.
        settle_s: Full load before the measurement under full load, for autoscaling.
    """

    name: str
    peer: str | None
    command: tuple[str, ...]
    ports: tuple[int, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_path: str | None = None
    path: str = "/v1/classify"
    request_format: RequestFormat = "image"
    settle_s: float = 0.0

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def url(self) -> str:
        return self.host + self.path


def _serve_run(peer: str) -> tuple[str, ...]:
    # Without an address, `serve run` joins a running Ray cluster.
    return ("serve", "run", "--address", "local", f"benchmarks/peers/{peer}/serve.yaml")


SYSTEMS: Final = (
    System(
        OURS,
        peer=SERVING,
        command=("python", "-m", "serve_app", "up", "deploy_configs/base.yaml"),
        ports=RAY_PORTS,
        ready_path="/readyz",
        settle_s=20.0,
    ),
    System(
        BARE,
        peer=SERVING,
        command=_serve_run("ray_bare"),
        ports=RAY_PORTS,
        environment=BARE_ENVIRONMENT,
    ),
    System(
        TORCH,
        peer=None,
        command=_serve_run("ray_torch"),
        ports=RAY_PORTS[:2],
    ),
    System(
        FASTAPI,
        peer="fastapi",
        command=(
            *("uvicorn", "benchmarks.peers.fastapi.app:app", "--workers", "2"),
            *("--host", "127.0.0.1", "--port", "8101", "--no-access-log", "--log-level", "warning"),
        ),
        ports=(8101,),
    ),
    System(
        LITSERVE,
        peer="litserve",
        command=("python", "-m", "benchmarks.peers.litserve.app"),
        ports=(8102,),
    ),
    System(
        BENTOML,
        peer="bentoml",
        command=(
            *("bentoml", "serve", "benchmarks.peers.bentoml.app:Animals"),
            *("--host", "127.0.0.1", "--port", "8103"),
        ),
        ports=(8103,),
        environment={"BENTOML_DO_NOT_TRACK": "True"},
        request_format="form",
    ),
    System(
        MOSEC,
        peer="mosec",
        command=(
            *("python", "-m", "benchmarks.peers.mosec.app", "--address", "127.0.0.1"),
            *("--port", "8104", "--timeout", "60000", "--log-level", "warning"),
        ),
        ports=(8104,),
    ),
    System(
        MLSERVER,
        peer="mlserver",
        command=("mlserver", "start", "benchmarks/peers/mlserver"),
        ports=(8105, 8205, 8305),
        path="/v2/models/animals/infer",
        request_format="base64",
    ),
)
QUICK: Final = (OURS, BARE, FASTAPI)
