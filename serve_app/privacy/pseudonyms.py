"""Pseudonyms of users and sessions."""

from __future__ import annotations

from hashlib import blake2b


class Pseudonymizer:
    """Replaces the names of users and sessions with keyed hashes."""

    def __init__(self, key: bytes) -> None:
        self._key = blake2b(b"units", key=key, digest_size=32).digest()

    def pseudonym(self, name: str) -> str:
        """The keyed BLAKE2b hash of a user or session name, 32 hex digits."""
        return blake2b(name.encode(), key=self._key, digest_size=16).hexdigest()
