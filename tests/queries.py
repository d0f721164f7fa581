"""The Prometheus queries in `deploy_configs/monitoring`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "deploy_configs" / "monitoring"
ALERTS = FOLDER / "alerts.yml"


def dashboard() -> dict[str, Any]:
    """The Grafana dashboard."""
    content: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text())
    return content


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, without rows (headings)."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries(interval: str = "1m") -> Iterator[tuple[str, str]]:
    """(title of the panel, query) of each query, with Grafana's rate interval filled in."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", interval)


def annotation_queries() -> Iterator[tuple[str, str]]:
    """(name, query) of each annotation of the dashboard."""
    for annotation in dashboard()["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def rules() -> list[dict[str, Any]]:
    """The recording rules and the alerts."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]
