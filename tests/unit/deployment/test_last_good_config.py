from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serve_app.deployment.last_good_config import LastGoodConfig

GOOD: dict[str, Any] = {"rule": {"kind": "single", "stable": "v1"}}


def accepted(folder: Path) -> LastGoodConfig:
    return LastGoodConfig(folder, "animals", "Ingress")


def test_what_was_accepted_last_is_known_to_replicas_born_later(tmp_path: Path) -> None:
    accepted(tmp_path).save({"rule": "older"})
    accepted(tmp_path).save(GOOD)
    assert accepted(tmp_path).load() == GOOD


def test_nothing_accepted_is_nothing_known(tmp_path: Path) -> None:
    assert accepted(tmp_path).load() is None


def test_each_deployment_has_its_own(tmp_path: Path) -> None:
    accepted(tmp_path).save(GOOD)
    assert LastGoodConfig(tmp_path, "animals", "StablePool").load() is None
    assert LastGoodConfig(tmp_path, "zebras", "Ingress").load() is None


@pytest.mark.parametrize("content", [b"", b'{"rule"', b"\xff\xfe"])
def test_a_damaged_file_is_nothing_known(tmp_path: Path, content: bytes) -> None:
    accepted(tmp_path).save(GOOD)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert accepted(tmp_path).load() is None


def test_what_cannot_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    accepted(tmp_path).save(GOOD)
    with pytest.raises(TypeError):
        accepted(tmp_path).save({"rule": object()})
    assert accepted(tmp_path).load() == GOOD


def test_a_full_disk_leaves_no_drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(draft: Path, _: str) -> int:
        draft.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    accepted(tmp_path).save(GOOD)
    assert list(tmp_path.iterdir()) == []


def test_replicas_that_save_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    configs = [{"rule": {"stable": f"v{n}", "padding": "x" * 20_000}} for n in range(16)]
    with ThreadPoolExecutor(8) as replicas:
        list(replicas.map(accepted(tmp_path).save, configs))
    assert accepted(tmp_path).load() in configs
    assert len(list(tmp_path.iterdir())) == 1


def test_the_file_is_json_that_people_can_read(tmp_path: Path) -> None:
    accepted(tmp_path).save(GOOD)
    assert json.loads((tmp_path / "animals.Ingress.json").read_text()) == GOOD
