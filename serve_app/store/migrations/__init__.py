"""Schema migrations, applied when the store is opened."""

from __future__ import annotations

from sqlalchemy import Connection

from serve_app.home import DATABASE_VARIABLE
from serve_app.store.database import redact_url
from serve_app.store.errors import StoreError


def migrate(connection: Connection) -> None:
    """Apply the missing migrations, within the transaction of `connection`.

    Raises:
        StoreError: The database has a schema revision that is not among the migrations.
    """
    # Imported here because it takes 0.2 s, and only the process that opens the store needs it.
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "serve_app.store:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as exc:
        found = MigrationContext.configure(connection).get_current_revision()
        expected = ScriptDirectory.from_config(config).get_current_head()
        raise StoreError(
            f"the database {redact_url(connection.engine.url)} has the schema revision '{found}',"
            f" which this version of serve-app does not know (expected '{expected}'): use the"
            f" version that created the database, or set {DATABASE_VARIABLE} to another database"
        ) from exc
