"""The store on each database: SQLite, and PostgreSQL from a wheel or as a variable says.

SERVE_APP_TEST_POSTGRES_URL is SQLAlchemy's URL of a database whose user may create others.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from serve_app.store.store import Store, open_store
from tests.postgres import NoServer, server


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
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return

    server = make_url(request.getfixturevalue("postgres"))
    name = f"serve_app_test_{secrets.token_hex(6)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    engine.dispose()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()
