from __future__ import annotations

import pytest

from serve_app.errors import NoSuchImage
from serve_app.privacy.image_cipher import ImageCipher

KEY = bytes(range(32))
JPEG = b"\xff\xd8\xff\xe0 an image of a koala " * 20


def test_decrypt_reverses_encrypt() -> None:
    assert ImageCipher(KEY).decrypt(ImageCipher(KEY).encrypt(JPEG)) == JPEG


def test_ciphertexts_of_one_image_differ_and_reveal_nothing() -> None:
    cipher = ImageCipher(KEY)
    one, other = cipher.encrypt(JPEG), cipher.encrypt(JPEG)
    assert one != other
    assert one.isascii()  # a spool is JSON
    assert b"koala" not in one


def test_another_key_cannot_decrypt() -> None:
    with pytest.raises(NoSuchImage, match=r"another image\.key"):
        ImageCipher(KEY[::-1]).decrypt(ImageCipher(KEY).encrypt(JPEG))


def test_a_modified_ciphertext_is_rejected() -> None:
    encrypted = ImageCipher(KEY).encrypt(JPEG)
    with pytest.raises(NoSuchImage):
        ImageCipher(KEY).decrypt(encrypted[:-5] + b"AAAA=")


def test_a_digest_depends_on_the_image_and_the_key() -> None:
    """Without the key, a known image cannot be recognized by its digest."""
    digest = ImageCipher(KEY).digest(JPEG)
    assert digest == ImageCipher(KEY).digest(JPEG)
    assert len(bytes.fromhex(digest)) == 32
    assert digest not in (ImageCipher(KEY).digest(JPEG + b"."), ImageCipher(KEY[::-1]).digest(JPEG))
