"""Errors of the store."""

from __future__ import annotations

from serve_app.errors import Problem, ServeAppError


class BadExport(Problem):
    """The table or the file format of an export does not exist or is not available here.

    Fix: Name a table and a format that the detail lists.
    """

    status, code, title = 422, "bad_export", "This cannot be exported"


class StoreError(ServeAppError):
    """The database cannot be used; the text names it, the cause and the remedy."""
