"""Sends the logs of `serve_app` to Serve's log file of the replica, as JSON."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterable, Mapping
from logging.handlers import MemoryHandler
from typing import Any

from ray.serve.schema import EncodingType, LoggingConfig

SERVE_LOGGER = "ray.serve"
CONFIG = LoggingConfig(encoding=EncodingType.JSON, enable_access_log=False)
_LINES = "lines"  # an attribute of records that are written as several lines


def join_serve_log() -> None:
    """Send the records of the logger `serve_app` to Serve's handlers.

    Lines that cannot be written, as on a full disk, are lost. By default logging would report each
    failure on stderr, which Serve sends to the same log.
    """
    logging.raiseExceptions = False
    logger = logging.getLogger("serve_app")
    logger.parent = logging.getLogger(SERVE_LOGGER)
    logger.setLevel(logging.INFO)


def log_lines(logger: logging.Logger, event: str, lines: Iterable[Mapping[str, Any]]) -> None:
    """Log several lines of one event as one record.

    The replica's log file gets the lines that `logger.info(event, extra=line)` would write for each
    line, for a fraction of the CPU time.

    Args:
        lines: The fields of each line, as in `extra`.
    """
    if lines := list(lines):
        _expand_lines()
        logger.info(event, extra={_LINES: lines, "log_to_stderr": False}, stacklevel=2)


def flush_serve_log() -> None:
    """Flush Serve's buffered handlers, so that the lines of a quiet service are not late."""
    for handler in logging.getLogger(SERVE_LOGGER).handlers:
        with contextlib.suppress(OSError):
            handler.flush()


def _expand_lines() -> None:
    """Wrap the formatters of Serve's handlers; a changed `logging_config` makes new handlers."""
    for handler in logging.getLogger(SERVE_LOGGER).handlers:
        target = handler.target if isinstance(handler, MemoryHandler) else handler
        inner = target.formatter if target else None
        if target and inner and not isinstance(inner, _ExpandingFormatter):
            target.setFormatter(_ExpandingFormatter(inner))


class _ExpandingFormatter(logging.Formatter):
    """Formats a record of `log_lines` as several lines, and other records as `inner` does."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner
        self._record: logging.LogRecord | None = None  # the last expanded record
        self._text = ""

    def format(self, record: logging.LogRecord) -> str:
        lines = record.__dict__.get(_LINES)
        if lines is None:
            return self._inner.format(record)
        # A rotating handler formats a record twice: to check its size, and to write it.
        if record is not self._record:
            self._record = record
            self._text = "\n".join(self._line(record, fields) for fields in lines)
        return self._text

    def _line(self, record: logging.LogRecord, fields: Mapping[str, Any]) -> str:
        line = copy.copy(record)
        del line.__dict__[_LINES]
        line.__dict__.update(fields)
        return self._inner.format(line)
