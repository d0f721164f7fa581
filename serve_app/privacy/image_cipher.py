"""Encryption of the images that are kept for review."""

from __future__ import annotations

import base64
from hashlib import blake2b

from cryptography.fernet import Fernet, InvalidToken

from serve_app.errors import NoSuchImage


class ImageCipher:
    """Encrypts images with the key of the home directory.

    The ciphertext is a Fernet token (AES-128-CBC and HMAC-SHA-256), which is ASCII. To make every
    kept image unreadable, backups included, delete the key.
    """

    def __init__(self, key: bytes) -> None:
        self._digest_key = blake2b(b"digests", key=key, digest_size=32).digest()
        secret = blake2b(b"images", key=key, digest_size=32).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(secret))

    def digest(self, content: bytes) -> str:
        """The keyed BLAKE2b digest of an image, 64 hex digits.

        Without the key, it does not reveal whether a given image was kept. Sorting by digest puts
        images in random order.
        """
        return blake2b(content, key=self._digest_key, digest_size=32).hexdigest()

    def encrypt(self, image: bytes) -> bytes:
        """The ciphertext of an image."""
        return self._fernet.encrypt(image)

    def decrypt(self, encrypted: bytes) -> bytes:
        """The image of a ciphertext.

        Raises:
            NoSuchImage: It was encrypted with another key.
        """
        try:
            return self._fernet.decrypt(encrypted)
        except InvalidToken as exc:
            raise NoSuchImage(
                "the image was encrypted with another image.key than that of the home directory"
                " and cannot be read"
            ) from exc
