"""The spool: batches on disk that an ingress could not deliver in time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from serve_app.files import replacing, sync
from serve_app.recording.batch import Batch

logger = logging.getLogger(__name__)

_BATCH = TypeAdapter(Batch)


class Spool:
    """A folder with one JSON file per batch, mode 0600.

    One object writes all batches of a writer and keeps their order. Thread-safe.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def write(self, batch: Batch) -> None:
        """Write a batch to disk, atomically and with fsync.

        Raises:
            OSError: The folder cannot be written.
        """
        path = self._folder / f"{batch.writer}-{next(self._numbers):06}.json"
        with replacing(path) as draft:
            draft.write_bytes(_BATCH.dump_json(batch))
            sync(draft)
        sync(self._folder)

    def drain(self, store: Callable[[Batch], None]) -> int:
        """Pass every batch to `store`, and delete its file once `store` has returned.

        If `store` raises, draining stops and the file stays. A damaged file is renamed to
        `*.damaged`.

        Returns:
            The number of exposures in the batches.
        """
        exposures = 0
        for path in sorted(self._folder.glob("*.json")):
            try:
                batch = _BATCH.validate_json(path.read_bytes(), strict=True)
            except FileNotFoundError:  # another process drains the folder too
                continue
            except ValidationError as exc:
                damaged = path.rename(path.with_suffix(".damaged"))
                logger.error("spool.damaged", exc_info=exc, extra={"path": str(damaged)})
                continue
            store(batch)
            path.unlink(missing_ok=True)
            exposures += len(batch.exposures)
        return exposures
