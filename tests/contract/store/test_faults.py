"""Locked, full, read-only, damaged or unreachable databases: the error, and the recovery."""

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
from serve_app.store.audit import NewAuditEntry
from serve_app.store.database import Database
from serve_app.store.errors import StoreError
from serve_app.store.revisions import RevisionState
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import Store, open_store
from tests.factories import adoption, batch, exposure
from tests.postgres import NOBODY, PostgresServer, PostgresUnavailable, run_server

NO_LIMIT = 1_073_741_823  # pages, SQLite's own


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Path of a SQLite file that does not exist."""
    return tmp_path / "store.db"


def add_audit_entry(store: Store) -> None:
    entry = NewAuditEntry("deploy", "anna", "a test", {})
    store.settle_revision(1, RevisionState.DEPLOYED, entry, at_ms=1)


def exposure_count(store: Store) -> int:
    return sum(total.exposures for total in store.exposure_sums(EVERYTHING))


def test_a_locked_sqlite_file_is_an_error_until_it_is_unlocked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "TIMEOUT_S", 0.1)
    store = open_store(f"sqlite:///{path}")
    other = create_engine(f"sqlite:///{path}")
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked"):
            store.record(batch(exposure(1)))
    store.record(batch(exposure(1)))
    assert exposure_count(store) == 1
    other.dispose()
    store.close()


def test_a_postgresql_lock_that_is_not_released_is_an_error(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default PostgreSQL waits without limit."""
    options = database.POSTGRES_TIMEOUTS["options"]
    assert "lock_timeout=10s" in options
    monkeypatch.setitem(database.POSTGRES_TIMEOUTS, "options", options.replace("10s", "100ms"))
    store = open_store(postgres)
    other = create_engine(postgres)
    with other.connect() as connection:
        connection.exec_driver_sql(database.BEGIN_WRITE["postgresql"])
        with pytest.raises(StoreError, match="lock timeout"):
            add_audit_entry(store)
    add_audit_entry(store)
    assert len(store.audit(10)) == 1
    other.dispose()
    store.close()


@contextmanager
def page_limit(pages: int) -> Iterator[list[sqlite3.Connection]]:
    """Limits the file size of SQLite connections opened in the block; yields the connections."""
    opened: list[sqlite3.Connection] = []

    def set_limit(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")
        opened.append(connection)

    event.listen(Pool, "connect", set_limit)
    try:
        yield opened
    finally:
        event.remove(Pool, "connect", set_limit)


def test_a_batch_that_fails_on_a_full_disk_can_be_recorded_later(path: Path) -> None:
    """The failed attempt leaves nothing in the sums."""
    open_store(f"sqlite:///{path}").close()
    pages = path.stat().st_size // 4096 + 8
    with page_limit(pages) as connections:
        store = open_store(f"sqlite:///{path}")
        many = batch(adoption("a", 0), *(exposure(n) for n in range(1, 500)))
        for _ in range(2):
            with pytest.raises(StoreError, match=r"full.*fix that"):
                store.record(many)
        assert exposure_count(store) == 0
        store.record(batch(adoption("a", 0)))
    connections[-1].execute(f"PRAGMA max_page_count = {NO_LIMIT}")
    store.record(many)
    assert exposure_count(store) == 499
    store.close()


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Runs the block as a user to whom file permissions apply."""
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


def test_a_read_only_file_is_an_error_until_it_is_writable() -> None:
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
            assert exposure_count(store) == 2
            store.close()


def test_a_damaged_file_is_an_error(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    store.close()
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 8_192)
    with pytest.raises(StoreError, match=r"malformed|not a database"):
        store.record(batch(exposure(1)))
    store.close()


def test_an_exhausted_connection_pool_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "TIMEOUT_S", 0.1)
    one = Database(f"sqlite:///{path}")
    with ExitStack() as readers:
        for _ in range(15):
            readers.enter_context(one.read_transaction())
        with pytest.raises(StoreError, match="all connections are in use"):
            readers.enter_context(one.read_transaction())
    with one.read_transaction() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    one.close()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server that the test may stop."""
    try:
        with run_server() as server:
            yield server
    except PostgresUnavailable as exc:
        pytest.skip(f"no PostgreSQL: {exc}")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_a_server_that_is_down_is_an_error_until_it_is_back(
    own_server: PostgresServer, how: signal.Signals
) -> None:
    """The store reconnects without being reopened; earlier rows are kept."""
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
    assert exposure_count(store) == 2
    store.close()


def test_a_transaction_is_rolled_back_when_the_server_crashes(
    own_server: PostgresServer,
) -> None:
    store = open_store(own_server.url)
    one = Database(own_server.url)

    def crash_in_transaction() -> None:
        with one.write_transaction() as connection:
            audit.add_entry(connection, NewAuditEntry("deploy", "ada", "try it", {}), at_ms=1)
            own_server.stop(signal.SIGQUIT)

    with pytest.raises(StoreError, match="cannot be used"):
        crash_in_transaction()
    own_server.start()
    assert store.audit(limit=10) == []
    one.close()
    store.close()


@contextmanager
def silent_host() -> Iterator[int]:
    """A port that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("by_url", [False, True], ids=["by default", "by the URL"])
def test_a_server_that_does_not_respond_is_an_error(
    by_url: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_url:
        monkeypatch.setitem(database.POSTGRES_TIMEOUTS, "connect_timeout", "2")
    started = time.monotonic()
    with silent_host() as port, pytest.raises(StoreError, match="timeout expired"):
        open_store(
            f"postgresql+psycopg://ada@127.0.0.1:{port}/animals"
            + ("?connect_timeout=2" if by_url else "")
        )
    assert time.monotonic() - started < 8
