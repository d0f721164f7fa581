"""Databases that are new, old, too new, and no databases."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, text

from serve_app.store.database import Database
from serve_app.store.errors import StoreError
from serve_app.store.ingress_writers import IngressWriter
from serve_app.store.schema import metadata
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import Store, open_store
from tests.contract.store.examples import (
    EXPOSURE,
    FEEDBACK,
    PAIR,
    WRITER,
    adoption,
    batch,
    contents,
    exposure,
    feedback,
    pair,
)

OPEN_AND_WRITE = """
import sys
from serve_app.store.store import open_store
print("ready", flush=True)
sys.stdin.readline()
store = open_store(sys.argv[1])
store.add_audit("open", "a process", "at once", {}, at_ms=1)
store.close()
"""

# One row of each table, as the first version wrote them.
FIRST_ROWS: dict[str, dict[str, Any]] = {
    "epochs": {
        "number": 1,
        "rule_id": "aaaaaaaa",
        "rule": "{}",
        "kind": "single",
        "started_at_ms": 1,
        "ended_at_ms": None,
    },
    "adoptions": {"writer": WRITER, "at_ms": 1, "rule_id": "aaaaaaaa"},
    "exposures": {**asdict(EXPOSURE), "epoch": 1},
    "writers": {
        "writer": WRITER,
        "first_seen_ms": 1,
        "last_seen_ms": 2,
        "last_sequence": 3,
        "stored": 1,
        "dropped": 2,
        "without_epoch": 0,
    },
    "revisions": {
        "number": 1,
        "at_ms": 1,
        "actor": "ada",
        "reason": "first",
        "document": "{}",
        "digest": "d1",
    },
    "audit": {
        "id": 1,
        "at_ms": 1,
        "actor": "ada",
        "action": "deploy",
        "reason": "first",
        "details": "{}",
    },
}


# What the second version added, as it wrote it.
SECOND_ROWS: dict[str, dict[str, Any]] = {
    "shadow_pairs": {
        "writer": WRITER,
        "sequence": 1,
        "at_ms": 5,
        "epoch": 1,
        "rule_id": "aaaaaaaa",
        "candidate": "v2",
        "outcome": "copied",
        "probability": 0.5,
        "label": "dog",
        "confidence": 0.75,
        "latency_ms": 6.5,
        "model_ms": 3.25,
        "error": None,
    },
    "feedback": asdict(FEEDBACK),
}


@pytest.fixture
def url(empty_url: str) -> str:
    """Here the tables are still to be made."""
    return empty_url


def create_version(url: str, number: str, content: dict[str, dict[str, Any]]) -> None:
    """A database as an older version left it."""
    config = Config()
    config.set_main_option("script_location", "serve_app.store:migrations")
    database = Database(url)
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, number)
        tables = MetaData()
        tables.reflect(connection)
        for name, row in content.items():
            connection.execute(tables.tables[name].insert(), row)
    database.close()


def test_what_was_stored_is_there_after_the_store_is_opened_again(url: str) -> None:
    for number in (1, 2):
        store = open_store(url)
        store.record(batch(adoption("a", 0), exposure(number)))
        store.close()
    tables = contents(url)
    assert (len(tables["exposures"]), len(tables["epochs"])) == (2, 1)


def test_the_migrations_make_the_tables_that_the_code_expects(store: Store, url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_a_database_of_the_first_version_keeps_its_rows(url: str) -> None:
    create_version(url, "0001", FIRST_ROWS)
    open_store(url).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        for name, row in FIRST_ROWS.items():
            (stored,) = connection.execute(metadata.tables[name].select()).mappings()
            assert {key: stored[key] for key in row} == row
    engine.dispose()


def test_a_database_of_the_first_version_takes_what_is_new(url: str) -> None:
    create_version(url, "0001", FIRST_ROWS)
    store = open_store(url)
    assert store.recording().writers == (IngressWriter(WRITER, 1, 2, 3, 1, 2, 0, 0, 0, 0, 0),)
    store.record(batch(exposure(2), pair(1), feedback(FEEDBACK.at_ms), dropped_pairs=4))
    (writer,) = store.recording().writers
    assert (writer.stored, writer.pairs, writer.dropped_pairs) == (2, 1, 4)
    assert store.shadow_pairs(since_ms=0, limit=10) == [PAIR]
    assert store.feedback(since_ms=0, limit=10) == [FEEDBACK]
    store.close()


def test_a_pair_of_the_second_version_says_nothing_of_its_live_answer(url: str) -> None:
    create_version(url, "0002", FIRST_ROWS | SECOND_ROWS)
    store = open_store(url)
    (old,) = store.shadow_pairs(since_ms=0, limit=10)
    assert (old.label, old.latency_ms, old.live_version, old.region) == ("dog", 6.5, None, None)
    store.close()


def test_the_outcomes_of_pairs_of_the_fifth_version_are_counted(url: str) -> None:
    writers = FIRST_ROWS["writers"] | {"pairs": 2}  # one is shed, and removed by now
    create_version(url, "0005", FIRST_ROWS | SECOND_ROWS | {"writers": writers})
    store = open_store(url)
    assert store.recording().outcomes == {"copied": 1, "failed": 0, "shed": 1}
    store.close()


def test_what_was_recorded_before_there_were_sums_is_in_none_and_counts_no_second_time(
    url: str,
) -> None:
    create_version(url, "0002", FIRST_ROWS | SECOND_ROWS)
    store = open_store(url)
    old = store.shadow_pairs(since_ms=0, limit=10)
    store.record(batch(exposure(1), *old, exposure(2), pair(2)))
    assert [total.exposures for total in store.exposure_sums(EVERYTHING)] == [1]
    assert [total.pairs for total in store.pair_sums(EVERYTHING)] == [1]
    store.close()


def test_feedback_of_the_second_version_is_joined_with_the_next_word(url: str) -> None:
    create_version(url, "0002", FIRST_ROWS | SECOND_ROWS)
    store = open_store(url)
    assert len(store.labelled_feedback().rating) == 0
    store.record(batch(feedback(FEEDBACK.at_ms + 1, rating=5)))
    assert store.labelled_feedback().rating.tolist() == [5]
    store.close()


def test_processes_may_open_a_fresh_database_at_once(url: str) -> None:
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


def test_a_database_of_a_newer_version_is_rejected(url: str) -> None:
    open_store(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match=r"newer serve-app .*'9999'.*: install that one"):
        open_store(url)


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
def test_a_url_that_is_of_no_use_is_rejected_with_one_that_is(url: str) -> None:
    with pytest.raises(StoreError, match=r"expected sqlite:.* or postgresql") as rejected:
        open_store(url)
    assert "secret" not in str(rejected.value)


@pytest.mark.parametrize(
    "who", ["ada:secret@db.invalid/animals", "db.invalid/animals?password=secret"]
)
def test_a_server_that_does_not_answer_is_named_without_its_password(who: str) -> None:
    with pytest.raises(StoreError, match=r"db\.invalid") as rejected:
        open_store(f"postgresql+psycopg://{who}")
    assert "secret" not in str(rejected.value)


def test_a_folder_that_is_not_there_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"No such file.*set SERVE_APP_DATABASE_URL"):
        open_store(f"sqlite:///{tmp_path}/none/store.db")


def test_a_folder_or_another_file_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        open_store(f"sqlite:///{tmp_path}")
    (tmp_path / "notes.txt").write_text("no database, and longer than its header is\n" * 50)
    with pytest.raises(StoreError, match="not a database"):
        open_store(f"sqlite:///{tmp_path}/notes.txt")


def test_an_sqlite_store_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    store.record(batch(exposure(1)))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    store.close()
    assert modes == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm"), 0o600)


def test_an_sqlite_file_appears_in_wal_mode(tmp_path: Path) -> None:
    """Two processes that switch one file at once fail at once: the header says it (bytes 18, 19).

    See https://www.sqlite.org/fileformat.html, 1.3.
    """
    Database(f"sqlite:///{tmp_path}/store.db").close()
    (path,) = tmp_path.iterdir()
    assert path.read_bytes()[18:20] == b"\x02\x02"


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    """The console reads while the controller writes."""
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    other = create_engine(f"sqlite:///{tmp_path}/store.db")
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        assert store.recording().stored == 0
    other.dispose()
    store.close()


@pytest.mark.parametrize(("pragma", "value"), [("synchronous", 2), ("foreign_keys", 1)])
def test_every_connection_to_sqlite_is_prepared(tmp_path: Path, pragma: str, value: int) -> None:
    """2 is FULL: a power cut takes nothing that was committed. 1 is on."""
    database = Database(f"sqlite:///{tmp_path}/store.db")
    with database.reading() as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    database.close()


def test_an_error_of_the_store_survives_the_way_between_processes() -> None:
    assert str(pickle.loads(pickle.dumps(StoreError("the disk is full")))) == "the disk is full"
