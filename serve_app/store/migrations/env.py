"""Alembic's environment script; see `serve_app.store.migrations.migrate`."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
