"""From any older state of the database to the newest."""

from __future__ import annotations

from sqlalchemy import Connection

from serve_app.store.database import shown
from serve_app.store.errors import StoreError


def migrate(connection: Connection) -> None:
    """Bring the database up to date, within the transaction of `connection`.

    Raises:
        StoreError: A newer version of this program made it.
    """
    # Of the processes that import the store, only the one that opens it needs this: 0.2 s.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

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
