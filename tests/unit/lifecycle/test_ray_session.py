"""Ray's session folders: the last one is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serve_app.home import Home
from serve_app.lifecycle.ray_session import RECORD, keep_only


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ray's folder."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    root = tmp_path / "ray"
    root.mkdir()
    return root


def session(root: Path, pid: int, age_s: int = 0) -> Path:
    folder = root / f"session_2026-11-30_08-30-0{age_s}_000001_{pid}"
    (folder / "logs").mkdir(parents=True)
    os.utime(folder, (1_000_000 - age_s, 1_000_000 - age_s))
    return folder


def test_the_folder_before_the_last_is_deleted(root: Path, home: Home) -> None:
    foreign, first, second, third = (session(root, pid) for pid in (70, 71, 72, 73))
    for pid in (71, 72):
        keep_only(pid, home)
    assert sorted(root.iterdir()) == [foreign, second, third]
    keep_only(72, home)  # again, of a stop that was repeated
    assert second.exists()
    keep_only(73, home)
    assert sorted(root.iterdir()) == [foreign, third]
    assert not first.exists()


def test_a_start_without_a_folder_deletes_nothing(root: Path, home: Home) -> None:
    first = session(root, 71)
    keep_only(71, home)
    keep_only(72, home)
    assert first.exists()


def test_of_two_folders_with_the_same_pid_the_later_is_the_last(root: Path, home: Home) -> None:
    session(root, 71, age_s=5)
    keep_only(71, home)
    later = session(root, 71)
    keep_only(71, home)
    assert list(root.iterdir()) == [later]


@pytest.mark.parametrize("record", ["/", "", "relative", "{root}", "{root}/../precious"])
def test_nothing_but_a_session_is_deleted(
    root: Path, home: Home, tmp_path: Path, record: str
) -> None:
    (tmp_path / "precious").mkdir()
    (home.folder("run") / RECORD).write_text(record.format(root=root))
    session(root, 71)
    keep_only(71, home)
    assert (tmp_path / "precious").exists()
    assert len(list(root.iterdir())) == 1
