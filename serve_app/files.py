"""Files that appear whole or not at all, mode 0600.

A block writes a hidden draft next to the file. The file appears when the block ends. On an error
the draft is removed, which frees space on a full disk.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The draft of a file that replaces `path`: of several writers, the last one wins.

    Raises:
        OSError: The draft cannot be created; an existing file stays.
    """
    with _draft(path) as draft:
        yield draft
        draft.replace(path)


@contextmanager
def creating(path: Path) -> Iterator[Path]:
    """The draft of a file that appears unless `path` exists: the first writer wins.

    Raises:
        OSError: The draft cannot be created.
    """
    with _draft(path) as draft:
        yield draft
        with suppress(FileExistsError):  # unlike a rename, a link fails if the file exists
            os.link(draft, path)


def sync(path: Path) -> None:
    """Write a file or a folder to disk. A folder holds the names of its files.

    Raises:
        OSError: It cannot be written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    draft.touch(mode=0o600, exist_ok=False)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)
