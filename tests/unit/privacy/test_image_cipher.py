"""What is encrypted, nobody reads without the key."""

from __future__ import annotations

import pytest

from serve_app.errors import NoSuchImage
from serve_app.privacy.image_cipher import ImageCipher

KEY = bytes(range(32))
JPEG = b"\xff\xd8\xff\xe0 an image of a koala " * 20


def test_what_was_encrypted_comes_back() -> None:
    assert ImageCipher(KEY).decrypt(ImageCipher(KEY).encrypt(JPEG)) == JPEG


def test_a_seal_shows_nothing_of_what_it_holds_not_even_that_it_is_the_same() -> None:
    cipher = ImageCipher(KEY)
    one, other = cipher.encrypt(JPEG), cipher.encrypt(JPEG)
    assert one != other
    assert one.isascii()  # a spool is JSON
    assert b"koala" not in one


def test_another_key_opens_nothing() -> None:
    with pytest.raises(NoSuchImage, match=r"another image\.key"):
        ImageCipher(KEY[::-1]).decrypt(ImageCipher(KEY).encrypt(JPEG))


def test_what_was_tampered_with_is_not_opened() -> None:
    encrypted = ImageCipher(KEY).encrypt(JPEG)
    with pytest.raises(NoSuchImage):
        ImageCipher(KEY).decrypt(encrypted[:-5] + b"AAAA=")


def test_a_digest_is_that_of_an_image_under_a_key() -> None:
    """Without the key nobody can try whether an image that he has was here."""
    digest = ImageCipher(KEY).digest(JPEG)
    assert digest == ImageCipher(KEY).digest(JPEG)
    assert len(bytes.fromhex(digest)) == 32
    assert digest not in (ImageCipher(KEY).digest(JPEG + b"."), ImageCipher(KEY[::-1]).digest(JPEG))
