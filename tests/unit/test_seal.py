"""What is sealed, nobody reads without the key."""

from __future__ import annotations

import pytest

from serve_app.errors import NoSuchPicture
from serve_app.seal import Seal

KEY = bytes(range(32))
JPEG = b"\xff\xd8\xff\xe0 a picture of a koala " * 20


def test_what_was_sealed_comes_back() -> None:
    assert Seal(KEY).open(Seal(KEY).seal(JPEG)) == JPEG


def test_a_seal_shows_nothing_of_what_it_holds_not_even_that_it_is_the_same() -> None:
    seal = Seal(KEY)
    one, other = seal.seal(JPEG), seal.seal(JPEG)
    assert one != other
    assert one.isascii()  # a spool is JSON
    assert b"koala" not in one


def test_another_key_opens_nothing() -> None:
    with pytest.raises(NoSuchPicture, match=r"another picture\.key"):
        Seal(KEY[::-1]).open(Seal(KEY).seal(JPEG))


def test_what_was_tampered_with_is_not_opened() -> None:
    sealed = Seal(KEY).seal(JPEG)
    with pytest.raises(NoSuchPicture):
        Seal(KEY).open(sealed[:-5] + b"AAAA=")


def test_a_digest_is_that_of_a_picture_under_a_key() -> None:
    """Without the key nobody can try whether a picture that he has was here."""
    digest = Seal(KEY).digest(JPEG)
    assert digest == Seal(KEY).digest(JPEG)
    assert len(bytes.fromhex(digest)) == 32
    assert digest not in (Seal(KEY).digest(JPEG + b"."), Seal(KEY[::-1]).digest(JPEG))
