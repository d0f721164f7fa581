"""The store on each database: SQLite, and PostgreSQL from a wheel or as a variable says.

SERVE_APP_TEST_POSTGRES_URL is SQLAlchemy's URL of a database whose user may create others.
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
from tests.postgres import NoServer, server

FILE = "store.db"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A database of a PostgreSQL server, whose user may create others."""
    if url := os.environ.get("SERVE_APP_TEST_POSTGRES_URL"):
        yield url
        return
    try:
        with server() as one:
            yield one.url
    except NoServer as exc:
        pytest.skip(f"no PostgreSQL: {exc}")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it."""
    if request.param == "sqlite":
        yield _sqlite(tmp_path)
        return
    with _database(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with our tables."""
    folder = tmp_path_factory.mktemp("template")
    open_store(_sqlite(folder)).close()
    return folder / FILE


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> Iterator[str]:
    """The name of a database with our tables."""
    with _database(postgres) as url:
        open_store(url).close()
        yield make_url(url).database or ""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with our tables and nothing else: a copy, for to make them takes longer."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / FILE)
        yield _sqlite(tmp_path)
        return
    server, template = map(request.getfixturevalue, ("postgres", "postgres_template"))
    with _database(server, template) as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


def _sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / FILE}"


@contextmanager
def _database(server: str, template: str = "template1") -> Iterator[str]:
    """A database of its own on a server, for as long as it is needed."""
    name = f"serve_app_test_{secrets.token_hex(6)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    engine.dispose()
