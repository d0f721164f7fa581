"""What can go wrong with the store."""

from __future__ import annotations

from serve_app.errors import ServeAppError


class BadExport(ServeAppError):
    """What is to be exported, or how, is not possible here."""


class StoreError(ServeAppError):
    """The database cannot be used; the text says which, why and what to do."""
