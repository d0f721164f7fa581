"""From any older state of the database to the newest."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from serve_app.store.database import shown
from serve_app.store.errors import StoreError


def migrate(connection: Connection) -> None:
    """Bring the database up to date, within the transaction of `connection`.

    Raises:
        StoreError: A newer version of this program made it.
    """
    config = Config()
    config.set_main_option("script_location", "serve_app.store:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as exc:
        raise StoreError(
            f"{shown(connection.engine.url)} is from a newer serve-app ({exc}): install that one,"
            " or name another database"
        ) from exc
