"""The log file of a replica, written through Serve's handlers."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from logging.handlers import MemoryHandler, RotatingFileHandler
from pathlib import Path
from typing import Any

import pytest
from ray._common.formatters import JSONFormatter

with warnings.catch_warnings():  # deprecated pydantic features in Serve's modules
    warnings.simplefilter("ignore")
    from serve_app.serving.logs import SERVE_LOGGER, flush_serve_log, join_serve_log, log_lines

logger = logging.getLogger("serve_app.test")
FIELDS = {"request_id": "r-1", "route": "/v1/classify", "status": 200, "user": None}


def create_handler(path: Path, max_bytes: int = 0) -> MemoryHandler:
    """A handler like those of Serve: buffered, rotating, JSON."""
    target = RotatingFileHandler(path, maxBytes=max_bytes, backupCount=9)
    target.setFormatter(JSONFormatter())
    return MemoryHandler(capacity=1000, flushLevel=logging.ERROR, target=target)


@pytest.fixture(params=[0, 2_000], ids=["one file", "rotating"])
def log_file(tmp_path: Path, request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The log file of a replica."""
    handler = create_handler(tmp_path / "replica.log", request.param)
    serve = logging.getLogger(SERVE_LOGGER)
    monkeypatch.setattr(serve, "handlers", [handler])
    monkeypatch.setattr(serve, "level", logging.INFO)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    app = logging.getLogger("serve_app")
    monkeypatch.setattr(app, "parent", app.parent)
    monkeypatch.setattr(app, "level", app.level)
    join_serve_log()
    monkeypatch.setattr(logging, "raiseExceptions", True)
    yield tmp_path / "replica.log"
    file_handler().close()


def file_handler() -> logging.Handler:
    handlers = logging.getLogger(SERVE_LOGGER).handlers
    (handler,) = [one for one in handlers if isinstance(one, MemoryHandler)]  # pytest has its own
    assert handler.target
    return handler.target


def read_lines(log_file: Path) -> list[dict[str, Any]]:
    """The lines of the log file and its rotated predecessors, oldest first."""
    flush_serve_log()
    files = sorted(log_file.parent.glob("replica.log*"), key=lambda one: (len(one.name), one.name))
    oldest_first = [*reversed(files[1:]), files[0]]
    return [json.loads(line) for one in oldest_first for line in one.read_text().splitlines()]


def test_log_lines_writes_the_lines_of_separate_records(log_file: Path) -> None:
    logger.info("request.completed", extra={**FIELDS, "log_to_stderr": False})
    log_lines(logger, "request.completed", [FIELDS])
    separate, expanded = read_lines(log_file)
    assert separate.keys() == expanded.keys()
    differ = {key for key in separate if separate[key] != expanded[key]}
    assert differ <= {"asctime", "timestamp_ns", "lineno"}


def test_lines_are_written_once_and_in_order(log_file: Path) -> None:
    log_lines(logger, "request.completed", ({**FIELDS, "request_id": f"r-{n}"} for n in range(100)))
    logger.info("after")
    lines = read_lines(log_file)
    assert [line.get("request_id") for line in lines] == [*(f"r-{n}" for n in range(100)), None]
    assert {line["message"] for line in lines[:-1]} == {"request.completed"}


def test_no_lines_write_no_record(log_file: Path) -> None:
    log_lines(logger, "request.completed", [])
    assert read_lines(log_file) == []


def test_joining_twice_does_not_duplicate_lines(log_file: Path) -> None:
    join_serve_log()
    log_lines(logger, "request.completed", [FIELDS])
    assert len(read_lines(log_file)) == 1


def test_lines_are_expanded_after_a_change_of_the_logging_config(log_file: Path) -> None:
    """Serve then replaces its handlers."""
    log_lines(logger, "request.completed", [FIELDS])
    flush_serve_log()
    file_handler().close()
    logging.getLogger(SERVE_LOGGER).handlers = [create_handler(log_file)]
    log_lines(logger, "request.completed", [FIELDS])
    assert [line["request_id"] for line in read_lines(log_file)] == ["r-1", "r-1"]


def test_text_formatters_expand_lines(log_file: Path) -> None:
    file_handler().setFormatter(logging.Formatter("%(message)s %(request_id)s"))
    log_lines(logger, "request.completed", [FIELDS, FIELDS])
    flush_serve_log()
    assert log_file.read_text().splitlines() == [
        "request.completed r-1",
        "request.completed r-1",
    ]


def test_other_records_are_unchanged(log_file: Path) -> None:
    logger.warning("config.rejected", extra={"path": "rule.weight"})
    (line,) = read_lines(log_file)
    assert (line["message"], line["path"]) == ("config.rejected", "rule.weight")
    assert "lines" not in line
