"""Pictures of users at rest: sealed, and named by digests that only the key can make."""

from __future__ import annotations

import base64
from hashlib import blake2b

from cryptography.fernet import Fernet, InvalidToken

from serve_app.errors import NoSuchPicture


class Seal:
    """Seals under one key; who removes it has removed every picture, from the backups as well.

    What is sealed is a Fernet token (AES-128-CBC and HMAC-SHA-256), which is ASCII.
    """

    def __init__(self, key: bytes) -> None:
        self._digest_key = blake2b(b"digests", key=key, digest_size=32).digest()
        secret = blake2b(b"pictures", key=key, digest_size=32).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(secret))

    def digest(self, content: bytes) -> str:
        """64 hex digits. Without the key nobody can tell whether a picture he has was here; and
        in their order, pictures come at random."""
        return blake2b(content, key=self._digest_key, digest_size=32).hexdigest()

    def seal(self, picture: bytes) -> bytes:
        return self._fernet.encrypt(picture)

    def open(self, sealed: bytes) -> bytes:
        """What was sealed.

        Raises:
            NoSuchPicture: Not with this key.
        """
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken as exc:
            raise NoSuchPicture(
                "the picture was sealed with another picture.key than that of the home directory:"
                " nobody can see it any more"
            ) from exc
