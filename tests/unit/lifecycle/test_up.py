"""Starting and supervising a service."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.deployment import config
from serve_app.errors import BadConfig
from serve_app.home import Home
from serve_app.lifecycle import up
from serve_app.lifecycle.run import Run, load, save
from serve_app.lifecycle.signals import StopSignals
from serve_app.lifecycle.terminal import Terminal
from tests.unit.service import PARALLEL


def test_a_full_disk_does_not_end_the_supervision(
    home: Home, supervised_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is written once there is space."""
    save(replace(supervised_run, service=supervised_run.starter), home)
    written: list[Path] = []
    real = Path.write_text

    def write_text(path: Path, *args: Any, **options: Any) -> int:
        written.append(path)
        if len(written) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        signals.count += 1
        return real(path, *args, **options)

    monkeypatch.setattr(up, "RECORD_INTERVAL_S", 0.01)
    monkeypatch.setattr(Path, "write_text", write_text)
    monkeypatch.setattr(Run, "processes", lambda run: [run.starter.find()])
    with StopSignals() as signals:
        up._supervise(supervised_run, home, signals)
    recorded = load(home)
    assert recorded
    assert (len(written), recorded.recorded) == (2, (supervised_run.starter,))


def test_a_wrong_rule_prevents_the_start(home: Home, tmp_path: Path) -> None:
    """Otherwise the rule of an earlier run would be in force."""
    document = config.read(up.BASE)
    ingress = document["applications"][0]["deployments"][0]
    ingress["user_config"]["rule"] = PARALLEL | {"weight": 0.6}
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(BadConfig, match=r"rule\.weight is 0\.6"):
        up.start_service(path, home, Terminal())
    assert load(home) is None
