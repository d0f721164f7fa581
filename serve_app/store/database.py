"""Connections and transactions; all differences between SQLite and PostgreSQL are here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from serve_app.files import creating
from serve_app.home import DATABASE_VARIABLE
from serve_app.store.errors import StoreError

# For a lock that another process holds on the SQLite file, and for a connection of the pool.
TIMEOUT_S = 10.0
# Defaults for PostgreSQL, which the URL overrides. They end the wait for a server that is cut off,
# and for a lock whose holder is cut off.
POSTGRES_TIMEOUTS = {
    "connect_timeout": f"{TIMEOUT_S:.0f}",
    "tcp_user_timeout": "30000",
    "options": f"-c lock_timeout={TIMEOUT_S:.0f}s -c idle_in_transaction_session_timeout=60s",
}
WAL = "PRAGMA journal_mode = WAL"

DRIVERS = ("sqlite", "postgresql+psycopg")
# The first statement of a transaction, by dialect. A read transaction sees one snapshot. Write
# transactions are serialized, so that they can read before they insert; the number is the lock's.
BEGIN_READ = {
    "sqlite": "BEGIN",
    "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
}
BEGIN_WRITE = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(4276993775)",
}


class Database:
    """A database; safe to use from several threads."""

    def __init__(self, url: str) -> None:
        """Create the SQLite file if it is missing; the first transaction connects.

        Raises:
            StoreError: The URL is not supported, or the file cannot be created.
        """
        self._url = _parse_url(url)
        try:
            if self._url.drivername == "sqlite":
                _create_private(self._url)
                self._engine = create_engine(
                    self._url, connect_args={"timeout": TIMEOUT_S}, pool_timeout=TIMEOUT_S
                )
                event.listen(self._engine, "connect", _prepare_sqlite)
            else:
                with_timeouts = self._url.set(query={**POSTGRES_TIMEOUTS, **self._url.query})
                self._engine = create_engine(
                    with_timeouts, pool_pre_ping=True, pool_timeout=TIMEOUT_S
                )
        except OSError as exc:
            raise self._error(exc.strerror) from exc
        except sqlite3.Error as exc:
            raise self._error(exc) from exc
        except ImportError as exc:
            raise StoreError(
                f"the database {redact_url(self._url)} needs a driver ({exc}):"
                " pip install 'serve-app[postgres]'"
            ) from exc

    @contextmanager
    def read_transaction(self) -> Iterator[Connection]:
        """A read-only transaction.

        Raises:
            StoreError: The database failed.
        """
        with self._transaction(BEGIN_READ) as connection:
            yield connection

    @contextmanager
    def write_transaction(self) -> Iterator[Connection]:
        """A transaction that may write; rolled back on an exception.

        Raises:
            StoreError: The database failed.
        """
        with self._transaction(BEGIN_WRITE) as connection:
            yield connection

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, begin: dict[str, str]) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection, _begin(connection):
                connection.exec_driver_sql(begin[connection.dialect.name])
                yield connection
        except DBAPIError as exc:
            raise self._error(exc.orig) from exc
        except PoolTimeoutError as exc:
            raise self._error("all connections are in use") from exc

    def _error(self, reason: object) -> StoreError:
        return StoreError(
            f"the database {redact_url(self._url)} cannot be used ({reason}):"
            f" fix that, or set {DATABASE_VARIABLE} to another database"
        )


def used_bytes(connection: Connection) -> int | None:
    """The size of the database without its free pages, bytes; None for PostgreSQL, which does not
    say how much of its files is free."""
    if connection.dialect.name != "sqlite":
        return None
    pages, free, page_bytes = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page_bytes)


def redact_url(url: URL) -> str:
    """The URL without secrets: no password and no query."""
    return repr(url.set(query={}))


@contextmanager
def _begin(connection: Connection) -> Iterator[None]:
    """A transaction; a connection that failed is discarded.

    The fault may be the connection's: one to a SQLite file that was read-only stays read-only.
    """
    try:
        with connection.begin():
            yield
    except DBAPIError:
        connection.invalidate()
        raise


def _parse_url(url: str) -> URL:
    expected = (
        "expected sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        f" ({DATABASE_VARIABLE})"
    )
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as exc:
        raise StoreError(f"the database URL cannot be parsed: {expected}") from exc
    if parsed.drivername not in DRIVERS or parsed.database in (None, "", ":memory:"):
        raise StoreError(f"the database {redact_url(parsed)} is not supported: {expected}")
    return parsed


def _create_private(url: URL) -> None:
    """Create the file of a SQLite database, mode 0600; SQLite's side files inherit the mode.

    The file appears in WAL mode: when two processes switch one file at the same time, SQLite fails
    without waiting. An existing file is not opened: closing it would drop the locks that this
    process holds on it (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    path = Path(str(url.database))
    if path.exists():
        return
    with creating(path) as draft, closing(sqlite3.connect(draft)) as connection:
        connection.execute(WAL)


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    """Set the pragmas. A commit is synced to disk: feedback is confirmed to clients after it."""
    for pragma in (
        WAL,
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA cache_size = -32000",  # KiB; writes of sums touch pages all over their tables
    ):
        connection.execute(pragma)
