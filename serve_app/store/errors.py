"""What can go wrong with the store."""

from __future__ import annotations

from serve_app.errors import Problem, ServeAppError


class BadExport(Problem):
    """What is to be exported, or how, is not possible here."""

    status, code, title = 422, "bad_export", "This cannot be exported"


class StoreError(ServeAppError):
    """The database cannot be used; the text says which, why and what to do."""
