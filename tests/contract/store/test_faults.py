"""Databases that are busy, full, read-only or away: what is told, and that it passes by itself."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.pool import Pool

from serve_app.store import audit, database
from serve_app.store.database import Database
from serve_app.store.errors import StoreError
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import Store, open_store
from tests.contract.store.examples import adoption, batch, exposure
from tests.postgres import NOBODY, NoServer, Server, server

NO_LIMIT = 1_073_741_823  # pages, SQLite's own


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an SQLite store may be."""
    return tmp_path / "store.db"


def stored(store: Store) -> int:
    return sum(total.exposures for total in store.exposure_sums(EVERYTHING))


def test_a_database_that_another_process_writes_to_is_told_to_be_locked_and_then_taken(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_S", 0.1)
    store = open_store(f"sqlite:///{path}")
    other = create_engine(f"sqlite:///{path}")
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked"):
            store.record(batch(exposure(1)))
    store.record(batch(exposure(1)))
    assert stored(store) == 1
    other.dispose()
    store.close()


def test_a_lock_whose_holder_is_cut_off_is_given_up(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL, which itself would wait without end."""
    patience = database.PATIENCE["options"]
    assert "lock_timeout=10s" in patience
    monkeypatch.setitem(database.PATIENCE, "options", patience.replace("10s", "100ms"))
    store = open_store(postgres)
    other = create_engine(postgres)
    with other.connect() as connection:
        connection.exec_driver_sql(database.WRITE["postgresql"])
        with pytest.raises(StoreError, match="lock timeout"):
            store.add_audit("deploy", "anna", "a test", {}, at_ms=1)
    store.add_audit("deploy", "anna", "a test", {}, at_ms=1)
    assert len(store.audit(10)) == 1
    other.dispose()
    store.close()


@contextmanager
def limited(pages: int) -> Iterator[list[sqlite3.Connection]]:
    """Connections that are opened meanwhile may make no file of more pages."""
    opened: list[sqlite3.Connection] = []

    def limit(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")
        opened.append(connection)

    event.listen(Pool, "connect", limit)
    try:
        yield opened
    finally:
        event.remove(Pool, "connect", limit)


def test_a_full_disk_is_told_and_what_was_rejected_is_stored_once_there_is_room(path: Path) -> None:
    """Nothing of a batch is left in the sums by an attempt that failed."""
    open_store(f"sqlite:///{path}").close()
    pages = path.stat().st_size // 4096 + 8
    with limited(pages) as connections:
        store = open_store(f"sqlite:///{path}")
        many = batch(adoption("a", 0), *(exposure(n) for n in range(1, 500)))
        for _ in range(2):
            with pytest.raises(StoreError, match=r"full.*mend that"):
                store.record(many)
        assert stored(store) == 0
        store.record(batch(adoption("a", 0)))
    connections[-1].execute(f"PRAGMA max_page_count = {NO_LIMIT}")
    store.record(many)
    assert stored(store) == 499
    store.close()


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """As a user to whom permissions apply."""
    if os.geteuid() != 0:
        yield
        return
    shutil.chown(folder, NOBODY, NOBODY)
    for path in folder.iterdir():
        shutil.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_written_is_told_and_taken_once_it_may() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "store.db"
        store = open_store(f"sqlite:///{path}")
        store.record(batch(exposure(1)))
        store.close()
        path.chmod(0o400)
        with unprivileged(folder):
            with pytest.raises(StoreError, match="readonly database"):
                store.record(batch(exposure(2)))
            for file in folder.iterdir():
                file.chmod(0o600)
            store.record(batch(exposure(2)))
            assert stored(store) == 2
            store.close()


def test_a_damaged_file_is_told(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    store.close()
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 8_192)
    with pytest.raises(StoreError, match=r"malformed|not a database"):
        store.record(batch(exposure(1)))
    store.close()


def test_a_reader_that_gets_no_connection_in_time_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_S", 0.1)
    one = Database(f"sqlite:///{path}")
    with ExitStack() as readers:
        for _ in range(15):
            readers.enter_context(one.reading())
        with pytest.raises(StoreError, match="every connection to it is in use"):
            readers.enter_context(one.reading())
    with one.reading() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    one.close()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A PostgreSQL server that a test may stop."""
    try:
        with server() as one:
            yield one
    except NoServer as exc:
        pytest.skip(f"no PostgreSQL: {exc}")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_a_server_that_went_away_is_told_and_used_again_once_it_is_back(
    own_server: Server, how: signal.Signals
) -> None:
    """Without being opened again; what was stored before is there."""
    store = open_store(own_server.url)
    store.record(batch(adoption("a", 0), exposure(1)))
    own_server.stop(how)
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be used"):
            store.record(batch(exposure(2)))
        with pytest.raises(StoreError, match="cannot be used"):
            store.recording()
    own_server.start()
    store.record(batch(exposure(2)))
    assert stored(store) == 2
    store.close()


def test_a_server_that_goes_away_within_a_transaction_leaves_nothing_of_it(
    own_server: Server,
) -> None:
    store = open_store(own_server.url)
    one = Database(own_server.url)

    def interrupted() -> None:
        with one.writing() as connection:
            audit.add(connection, "deploy", "ada", "try it", {}, at_ms=1)
            own_server.stop(signal.SIGQUIT)

    with pytest.raises(StoreError, match="cannot be used"):
        interrupted()
    own_server.start()
    assert store.audit(limit=10) == []
    one.close()
    store.close()


@contextmanager
def silent_host() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("by_url", [False, True], ids=["by default", "by the URL"])
def test_a_server_that_says_nothing_is_given_up(
    by_url: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_url:
        monkeypatch.setitem(database.PATIENCE, "connect_timeout", "2")
    started = time.monotonic()
    with silent_host() as port, pytest.raises(StoreError, match="timeout expired"):
        open_store(
            f"postgresql+psycopg://ada@127.0.0.1:{port}/animals"
            + ("?connect_timeout=2" if by_url else "")
        )
    assert time.monotonic() - started < 8
