"""Connections and transactions: the one place that knows SQLite from PostgreSQL."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from serve_app.home import DATABASE_VARIABLE
from serve_app.store.errors import StoreError

WAIT_S = 10.0  # for another process that writes to the same SQLite file, or for a connection
# PostgreSQL's, unless the URL says otherwise: a server that is cut off is given up, and so is a
# lock, whose holder may be cut off itself.
PATIENCE = {
    "connect_timeout": f"{WAIT_S:.0f}",
    "tcp_user_timeout": "30000",
    "options": f"-c lock_timeout={WAIT_S:.0f}s -c idle_in_transaction_session_timeout=60s",
}
WAL = "PRAGMA journal_mode = WAL"

DRIVERS = ("sqlite", "postgresql+psycopg")
# The first statement of a transaction. A reader sees one state of everything; there is one
# writer at a time, so that it may look before it inserts (the number names the lock).
READ = {
    "sqlite": "BEGIN",
    "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
}
WRITE = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(4276993775)",
}


class Database:
    """A database that is there; safe to use from several threads."""

    def __init__(self, url: str) -> None:
        """Nothing connects before the first transaction.

        Raises:
            StoreError: Not a URL of a database that can be used.
        """
        self._url = _parsed(url)
        try:
            if self._url.drivername == "sqlite":
                _create_private(self._url)
                self._engine = create_engine(
                    self._url, connect_args={"timeout": WAIT_S}, pool_timeout=WAIT_S
                )
                event.listen(self._engine, "connect", _prepare_sqlite)
            else:
                patient = self._url.set(query={**PATIENCE, **self._url.query})
                self._engine = create_engine(patient, pool_pre_ping=True, pool_timeout=WAIT_S)
        except OSError as exc:
            raise self._unusable(exc.strerror) from exc
        except sqlite3.Error as exc:
            raise self._unusable(exc) from exc
        except ImportError as exc:
            raise StoreError(
                f"the database {shown(self._url)} needs a driver ({exc}):"
                " pip install 'serve-app[postgres]'"
            ) from exc

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads.

        Raises:
            StoreError: The database failed.
        """
        with self._transaction(READ) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write; all of it happens, or nothing.

        Raises:
            StoreError: The database failed.
        """
        with self._transaction(WRITE) as connection:
            yield connection

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, first: dict[str, str]) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection, _begun(connection):
                connection.exec_driver_sql(first[connection.dialect.name])
                yield connection
        except DBAPIError as exc:
            raise self._unusable(exc.orig) from exc
        except PoolTimeoutError as exc:
            raise self._unusable("every connection to it is in use") from exc

    def _unusable(self, reason: object) -> StoreError:
        return StoreError(
            f"the database {shown(self._url)} cannot be used ({reason}):"
            f" mend that, or set {DATABASE_VARIABLE} to another"
        )


def shown(url: URL) -> str:
    """A URL without what may be secret: the password, and whatever the query says."""
    return repr(url.set(query={}))


@contextmanager
def _begun(connection: Connection) -> Iterator[None]:
    """A transaction; a connection that failed is used no more.

    What ails it may be its own: SQLite's stays read-only if the file was when it was opened.
    """
    try:
        with connection.begin():
            yield
    except DBAPIError:
        connection.invalidate()
        raise


def _parsed(url: str) -> URL:
    expected = (
        "expected sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        f" ({DATABASE_VARIABLE})"
    )
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as exc:
        raise StoreError(f"the database's URL cannot be read: {expected}") from exc
    if parsed.drivername not in DRIVERS or parsed.database in (None, "", ":memory:"):
        raise StoreError(f"the database {shown(parsed)} is of no use here: {expected}")
    return parsed


def _create_private(url: URL) -> None:
    """Create the file of an SQLite database, mode 0600; SQLite's other files take its mode.

    It appears in WAL mode: where two processes switch one file at once, SQLite fails without
    waiting. A file that exists is not even opened: closing it would drop the locks that this
    process holds on it (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    path = Path(str(url.database))
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600, exist_ok=False)
    try:
        with closing(sqlite3.connect(draft)) as connection:
            connection.execute(WAL)
        with suppress(FileExistsError):  # another process was first
            os.link(draft, path)
    finally:
        draft.unlink()


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    """What is committed is on disk: feedback is, before its sender is thanked."""
    for pragma in (
        WAL,
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA cache_size = -32000",  # KiB; sums are looked up all over their tables
    ):
        connection.execute(pragma)
