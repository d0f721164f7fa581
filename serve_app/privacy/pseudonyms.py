"""Pseudonyms of users and sessions."""

from __future__ import annotations

from hashlib import blake2b

from serve_app.privacy.illegal_ids import IllegalIds


class Pseudonymizer:
    """Replaces the names of users and sessions with keyed hashes.

    Attributes:
        illegal_ids: Placeholders for a missing id, which get no pseudonym.
    """

    def __init__(self, key: bytes, illegal_ids: IllegalIds | None = None) -> None:
        self._key = blake2b(b"units", key=key, digest_size=32).digest()
        self.illegal_ids = IllegalIds() if illegal_ids is None else illegal_ids

    def pseudonym(self, name: str) -> str:
        """The keyed BLAKE2b hash of a user or session name, 32 hex digits."""
        return blake2b(name.encode(), key=self._key, digest_size=16).hexdigest()
