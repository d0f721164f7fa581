"""What reaches a replica's log file, through Serve's own handlers."""

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

with warnings.catch_warnings():  # Serve's modules use what pydantic will take away
    warnings.simplefilter("ignore")
    from serve_app.serving.logs import SERVE_LOGGER, flush_serve_log, join_serve_log, log_lines

logger = logging.getLogger("serve_app.test")
FIELDS = {"request_id": "r-1", "route": "/v1/classify", "status": 200, "user": None}


def buffered(path: Path, max_bytes: int = 0) -> MemoryHandler:
    """A handler as Serve makes it: buffered, rotating, JSON."""
    target = RotatingFileHandler(path, maxBytes=max_bytes, backupCount=9)
    target.setFormatter(JSONFormatter())
    return MemoryHandler(capacity=1000, flushLevel=logging.ERROR, target=target)


@pytest.fixture(params=[0, 2_000], ids=["one file", "rotating"])
def file(tmp_path: Path, request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The log file of a replica."""
    handler = buffered(tmp_path / "replica.log", request.param)
    serve = logging.getLogger(SERVE_LOGGER)
    monkeypatch.setattr(serve, "handlers", [handler])
    monkeypatch.setattr(serve, "level", logging.INFO)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    ours = logging.getLogger("serve_app")
    monkeypatch.setattr(ours, "parent", ours.parent)
    monkeypatch.setattr(ours, "level", ours.level)
    join_serve_log()
    monkeypatch.setattr(logging, "raiseExceptions", True)
    yield tmp_path / "replica.log"
    target_of_the_file().close()


def target_of_the_file() -> logging.Handler:
    handlers = logging.getLogger(SERVE_LOGGER).handlers
    (handler,) = [one for one in handlers if isinstance(one, MemoryHandler)]  # pytest has its own
    assert handler.target
    return handler.target


def written(file: Path) -> list[dict[str, Any]]:
    """The lines of a log and of the files before it, oldest first."""
    flush_serve_log()
    files = sorted(file.parent.glob("replica.log*"), key=lambda one: (len(one.name), one.name))
    oldest_first = [*reversed(files[1:]), files[0]]
    return [json.loads(line) for one in oldest_first for line in one.read_text().splitlines()]


def test_each_line_is_the_one_that_a_record_of_its_own_would_be(file: Path) -> None:
    logger.info("request", extra={**FIELDS, "log_to_stderr": False})
    log_lines(logger, "request", [FIELDS])
    alone, expanded = written(file)
    assert alone.keys() == expanded.keys()
    differ = {key for key in alone if alone[key] != expanded[key]}
    assert differ <= {"asctime", "timestamp_ns", "lineno"}


def test_every_line_is_written_once_and_in_order(file: Path) -> None:
    log_lines(logger, "request", ({**FIELDS, "request_id": f"r-{n}"} for n in range(100)))
    logger.info("after")
    lines = written(file)
    assert [line.get("request_id") for line in lines] == [*(f"r-{n}" for n in range(100)), None]
    assert {line["message"] for line in lines[:-1]} == {"request"}


def test_no_line_is_no_record(file: Path) -> None:
    log_lines(logger, "request", [])
    assert written(file) == []


def test_joining_twice_writes_each_line_once(file: Path) -> None:
    join_serve_log()
    log_lines(logger, "request", [FIELDS])
    assert len(written(file)) == 1


def test_lines_are_expanded_after_a_changed_logging_config_too(file: Path) -> None:
    """Serve replaces its handlers then."""
    log_lines(logger, "request", [FIELDS])
    flush_serve_log()
    target_of_the_file().close()
    logging.getLogger(SERVE_LOGGER).handlers = [buffered(file)]
    log_lines(logger, "request", [FIELDS])
    assert [line["request_id"] for line in written(file)] == ["r-1", "r-1"]


def test_text_instead_of_json_is_expanded_as_well(file: Path) -> None:
    target_of_the_file().setFormatter(logging.Formatter("%(message)s %(request_id)s"))
    log_lines(logger, "request", [FIELDS, FIELDS])
    flush_serve_log()
    assert file.read_text().splitlines() == ["request r-1", "request r-1"]


def test_other_records_are_written_as_before(file: Path) -> None:
    logger.warning("config.rejected", extra={"path": "rule.weight"})
    (line,) = written(file)
    assert (line["message"], line["path"]) == ("config.rejected", "rule.weight")
    assert "lines" not in line
