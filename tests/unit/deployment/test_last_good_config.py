from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from serve_app.deployment.last_good_config import LastGoodConfig

CONFIG: dict[str, Any] = {"rule": {"kind": "single", "stable": "v1"}}


def last_good_config(folder: Path) -> LastGoodConfig:
    return LastGoodConfig(folder, "animals", "Ingress")


def test_load_returns_the_config_that_was_saved_last(tmp_path: Path) -> None:
    last_good_config(tmp_path).save({"rule": "older"})
    last_good_config(tmp_path).save(CONFIG)
    assert last_good_config(tmp_path).load() == CONFIG


def test_load_returns_none_without_a_saved_config(tmp_path: Path) -> None:
    assert last_good_config(tmp_path).load() is None


def test_each_deployment_has_its_own_file(tmp_path: Path) -> None:
    last_good_config(tmp_path).save(CONFIG)
    assert LastGoodConfig(tmp_path, "animals", "StablePool").load() is None
    assert LastGoodConfig(tmp_path, "zebras", "Ingress").load() is None


@pytest.mark.parametrize("content", [b"", b'{"rule"', b"\xff\xfe"])
def test_load_returns_none_for_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    last_good_config(tmp_path).save(CONFIG)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert last_good_config(tmp_path).load() is None


def test_a_config_that_is_not_json_leaves_the_saved_one(tmp_path: Path) -> None:
    last_good_config(tmp_path).save(CONFIG)
    with pytest.raises(TypeError):
        last_good_config(tmp_path).save({"rule": object()})
    assert last_good_config(tmp_path).load() == CONFIG


def test_a_full_disk_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(draft: Path, _: str) -> int:
        draft.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", fail)
    last_good_config(tmp_path).save(CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_json(tmp_path: Path) -> None:
    last_good_config(tmp_path).save(CONFIG)
    assert json.loads((tmp_path / "animals.Ingress.json").read_text()) == CONFIG
