"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Barrier

import pytest

from serve_app.files import creating, replacing

WRITERS = 8
Draft = Callable[[Path], AbstractContextManager[Path]]


@pytest.mark.parametrize("draft_of", [replacing, creating])
def test_the_file_appears_at_the_end_and_is_private(tmp_path: Path, draft_of: Draft) -> None:
    path = tmp_path / "file"
    with draft_of(path) as draft:
        draft.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("draft_of", [replacing, creating])
def test_an_error_leaves_the_folder_as_it_was(tmp_path: Path, draft_of: Draft) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="no space"), draft_of(path) as draft:  # noqa: PT012
        draft.write_text("ne")
        raise OSError("no space left")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("draft_of", "content"), [(replacing, "new"), (creating, "old")])
def test_an_existing_file_is_replaced_or_stays(
    tmp_path: Path, draft_of: Draft, content: str
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with draft_of(path) as draft:
        draft.write_text("new")
    assert path.read_text() == content


@pytest.mark.parametrize("draft_of", [replacing, creating])
def test_concurrent_writers_leave_one_whole_file(tmp_path: Path, draft_of: Draft) -> None:
    path, start = tmp_path / "file", Barrier(WRITERS)
    contents = [str(number) * 100_000 for number in range(WRITERS)]

    def write(content: str) -> str:
        with draft_of(path) as draft:
            draft.write_text(content)
            start.wait(10)
        return path.read_text()

    with ThreadPoolExecutor(WRITERS) as pool:
        seen = set(pool.map(write, contents))
    assert seen <= set(contents)
    assert os.listdir(tmp_path) == ["file"]
    if draft_of is creating:
        assert seen == {path.read_text()}, "the first writer wins"
