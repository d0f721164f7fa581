"""What the files of `deploy_configs/monitoring` ask of Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "deploy_configs" / "monitoring"
ALERTS = FOLDER / "alerts.yml"


def board() -> dict[str, Any]:
    """The Grafana board."""
    content: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text())
    return content


def panels() -> list[dict[str, Any]]:
    """Those of the board that show something."""
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def of_board(interval: str = "1m") -> Iterator[tuple[str, str]]:
    """A panel's title and one query of it, Grafana's variable filled in."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", interval)


def of_annotations() -> Iterator[tuple[str, str]]:
    """The board's annotations: a name and its query."""
    for annotation in board()["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def rules() -> list[dict[str, Any]]:
    """The recording rules and the alerts."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]
