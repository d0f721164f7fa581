"""Opening databases: migration, unknown revisions, invalid URLs, permissions."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from serve_app.store.database import Database
from serve_app.store.errors import StoreError
from serve_app.store.schema import metadata
from serve_app.store.store import Store, open_store
from tests.factories import adoption, batch, exposure
from tests.rows import contents

OPEN_AND_WRITE = """
import sys
from serve_app.store.audit import NewAuditEntry
from serve_app.store.revisions import RevisionState
from serve_app.store.store import open_store
print("ready", flush=True)
sys.stdin.readline()
store = open_store(sys.argv[1])
entry = NewAuditEntry("open", "a process", "at once", {})
store.settle_revision(1, RevisionState.DEPLOYED, entry, at_ms=1)
store.close()
"""


@pytest.fixture
def url(empty_url: str) -> str:
    """URL of a database without tables."""
    return empty_url


def test_rows_are_kept_when_the_store_is_reopened(url: str) -> None:
    for number in (1, 2):
        store = open_store(url)
        store.record(batch(adoption("a", 0), exposure(number)))
        store.close()
    tables = contents(url)
    assert (len(tables["exposures"]), len(tables["epochs"])) == (2, 1)


def test_the_migrations_create_the_schema(store: Store, url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_processes_may_create_a_database_concurrently(url: str) -> None:
    command = [sys.executable, "-c", OPEN_AND_WRITE, url]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    assert len(contents(url)["audit"]) == 2


@pytest.mark.parametrize("revision", ["0007", "9999"], ids=["development", "newer"])
def test_a_database_with_an_unknown_revision_is_rejected(url: str, revision: str) -> None:
    open_store(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
    before = contents(url)
    expected = (
        rf"revision '{revision}'.*\(expected '0004_unknown_labels'\)"
        r".* or set SERVE_APP_DATABASE_URL"
    )
    with pytest.raises(StoreError, match=expected):
        open_store(url)
    assert contents(url) == before
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store.db",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://ada:secret@db/animals",
        "postgresql+psycopg://ada:secret@db",
        "postgresql+psycopg://ada:secret@db:port/animals",
    ],
)
def test_an_unsupported_url_is_rejected_with_the_expected_form(url: str) -> None:
    with pytest.raises(StoreError, match=r"expected sqlite:.* or postgresql") as rejected:
        open_store(url)
    assert "secret" not in str(rejected.value)


@pytest.mark.parametrize(
    "address", ["ada:secret@db.invalid/animals", "db.invalid/animals?password=secret"]
)
def test_an_unreachable_server_is_named_without_its_password(address: str) -> None:
    with pytest.raises(StoreError, match=r"db\.invalid") as rejected:
        open_store(f"postgresql+psycopg://{address}")
    assert "secret" not in str(rejected.value)


def test_a_missing_folder_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"No such file.*set SERVE_APP_DATABASE_URL"):
        open_store(f"sqlite:///{tmp_path}/none/store.db")


def test_a_folder_or_a_text_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        open_store(f"sqlite:///{tmp_path}")
    (tmp_path / "notes.txt").write_text("no database, and longer than its header is\n" * 50)
    with pytest.raises(StoreError, match="not a database"):
        open_store(f"sqlite:///{tmp_path}/notes.txt")


def test_a_sqlite_store_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    store.record(batch(exposure(1)))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    store.close()
    assert modes == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm"), 0o600)


def test_a_sqlite_file_appears_in_wal_mode(tmp_path: Path) -> None:
    """Bytes 18 and 19 of the header are 2. Two processes that switch a file concurrently fail.

    See https://www.sqlite.org/fileformat.html, 1.3.
    """
    Database(f"sqlite:///{tmp_path}/store.db").close()
    (path,) = tmp_path.iterdir()
    assert path.read_bytes()[18:20] == b"\x02\x02"


def test_a_read_does_not_wait_for_a_write(tmp_path: Path) -> None:
    """The ControlApi reads while the Controller writes."""
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    other = create_engine(f"sqlite:///{tmp_path}/store.db")
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        assert store.recording().stored == 0
    other.dispose()
    store.close()


@pytest.mark.parametrize(("pragma", "value"), [("synchronous", 2), ("foreign_keys", 1)])
def test_sqlite_connections_have_the_pragmas(tmp_path: Path, pragma: str, value: int) -> None:
    """2 is FULL: a commit survives a power cut. 1 is on."""
    database = Database(f"sqlite:///{tmp_path}/store.db")
    with database.read_transaction() as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    database.close()


def test_a_store_error_can_be_pickled() -> None:
    assert str(pickle.loads(pickle.dumps(StoreError("the disk is full")))) == "the disk is full"
