"""Fixtures: the store on SQLite and on PostgreSQL.

PostgreSQL runs from a wheel, unless SERVE_APP_TEST_POSTGRES_URL is set: the SQLAlchemy URL of a
database whose user may create databases.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from serve_app.store.store import Store, open_store
from tests.postgres import PostgresUnavailable, run_server

FILE = "store.db"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL database whose user may create databases."""
    if url := os.environ.get("SERVE_APP_TEST_POSTGRES_URL"):
        yield url
        return
    try:
        with run_server() as server:
            yield server.url
    except PostgresUnavailable as exc:
        pytest.skip(f"no PostgreSQL: {exc}")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database."""
    if request.param == "sqlite":
        yield _sqlite_url(tmp_path)
        return
    with _database(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema."""
    folder = tmp_path_factory.mktemp("template")
    open_store(_sqlite_url(folder)).close()
    return folder / FILE


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> Iterator[str]:
    """The name of a PostgreSQL database with the schema."""
    with _database(postgres) as url:
        open_store(url).close()
        yield make_url(url).database or ""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database with empty tables; a copy of a template, which is faster than migrating."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / FILE)
        yield _sqlite_url(tmp_path)
        return
    postgres, template = map(request.getfixturevalue, ("postgres", "postgres_template"))
    with _database(postgres, template) as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


def _sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / FILE}"


@contextmanager
def _database(postgres: str, template: str = "template1") -> Iterator[str]:
    """URL of a new PostgreSQL database, which is dropped afterwards."""
    name = f"serve_app_test_{secrets.token_hex(6)}"
    engine = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield make_url(postgres).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    engine.dispose()
