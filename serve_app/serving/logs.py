"""Our loggers write where Serve's do: into the replica's own file, as JSON."""

from __future__ import annotations

import contextlib
import logging

from ray.serve.schema import EncodingType, LoggingConfig

SERVE_LOGGER = "ray.serve"
CONFIG = LoggingConfig(encoding=EncodingType.JSON, enable_access_log=False)


def join_serve_log() -> None:
    """Send what `serve_app` logs in this process to Serve's handlers.

    A line that cannot be written, on a full disk, is lost and harms nobody: by default, logging
    would complain to stderr, which Serve sends to the same log.
    """
    logging.raiseExceptions = False
    ours = logging.getLogger("serve_app")
    ours.parent = logging.getLogger(SERVE_LOGGER)
    ours.setLevel(logging.INFO)


def flush_serve_log() -> None:
    """Write what Serve's buffered handlers hold, so that a quiet service's log is not late."""
    for handler in logging.getLogger(SERVE_LOGGER).handlers:
        with contextlib.suppress(OSError):
            handler.flush()
