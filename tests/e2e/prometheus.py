"""A Prometheus server for tests, with the shipped configuration."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests import queries

INTERVAL = "2s"
START_TIMEOUT_S = 30.0
STEP_S = 2


class Prometheus:
    """A client of a running Prometheus.

    Attributes:
        started_at: Seconds since 1970, UTC.
    """

    def __init__(self, url: str) -> None:
        self.started_at = time.time()
        self._http = httpx.Client(base_url=url, timeout=30)

    def get(self, path: str, **parameters: Any) -> Any:
        """The data of a response of the API."""
        response = self._http.get(f"/api/v1/{path}", params=parameters)
        assert response.status_code == 200, f"{parameters}: {response.text}"
        return response.json()["data"]

    def values(self, query: str) -> list[float]:
        """All values of a query since the start, without NaN."""
        found = self.get(
            "query_range", query=query, start=self.started_at, end=time.time(), step=STEP_S
        )
        values = [float(value) for entry in found["result"] for _, value in entry["values"]]
        return [value for value in values if value == value]

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


@contextmanager
def run_prometheus(folder: Path, targets: Path | None = None) -> Iterator[Prometheus]:
    """Run Prometheus on a free port.

    Args:
        folder: For its configuration, data and log.
        targets: A discovery file that replaces the shipped one.
    """
    program = shutil.which("prometheus")
    if not program:
        pytest.skip("Prometheus is not installed: the dashboard and the alerts are not tested")
    config = yaml.safe_load((queries.FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
    config["rule_files"] = [str(queries.ALERTS)]
    if targets:
        config["scrape_configs"][0]["file_sd_configs"][0]["files"] = [str(targets)]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait_until_ready(process, f"http://{address}/-/ready", log)
        prometheus = Prometheus(f"http://{address}")
        yield prometheus
        prometheus.close()
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
