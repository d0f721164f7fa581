"""Batches on disk: what an ingress could not deliver in time."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from serve_app.recording.batch import Batch

logger = logging.getLogger(__name__)

_BATCH = TypeAdapter(Batch)


class Spool:
    """A folder with a JSON file for each batch, readable by its owner only.

    One object writes all batches of a writer; they come back in the order in which they came.
    Safe to use from several threads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def write(self, batch: Batch) -> None:
        """Keep a batch, through a power cut as well; a reader sees all of its file or none.

        Raises:
            OSError: The folder cannot be written.
        """
        path = self._folder / f"{batch.writer}-{next(self._numbers):06}.json"
        draft = path.with_suffix(".tmp")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(_BATCH.dump_json(batch))
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)  # a full disk needs the room
            raise
        _sync(self._folder)

    def drain(self, store: Callable[[Batch], None]) -> int:
        """Hand every batch to `store`; its file goes once `store` has returned.

        What `store` raises ends the draining and leaves the file. A damaged file is renamed to
        `*.damaged`.

        Returns:
            How many exposures there were.
        """
        exposures = 0
        for path in sorted(self._folder.glob("*.json")):
            try:
                batch = _BATCH.validate_json(path.read_bytes(), strict=True)
            except FileNotFoundError:  # another process drains the same folder
                continue
            except ValidationError as exc:
                aside = path.rename(path.with_suffix(".damaged"))
                logger.error("spool.damaged", exc_info=exc, extra={"path": str(aside)})
                continue
            store(batch)
            path.unlink(missing_ok=True)
            exposures += len(batch.exposures)
        return exposures


def _sync(folder: Path) -> None:
    """Write down which files a folder has: the name of a synced file may still be lost."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
