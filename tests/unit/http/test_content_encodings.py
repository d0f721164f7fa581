"""Bodies with content codings, and what they may unpack to."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.errors import BadBody, BodyTooLarge, UnsupportedMedia
from serve_app.http.content_encodings import MAX_MEMBERS, codings, decode

CONTENT = b"an image, " * 5000
LIMIT = len(CONTENT)


def pack(data: bytes, level: int = 9) -> bytes:
    """The gzip format, without the time: it would change the names of the tests."""
    return gzip.compress(data, level, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": pack,
    "x-gzip": pack,
    "deflate": zlib.compress,
}


@settings(max_examples=50)
@given(
    st.binary(max_size=300),
    st.lists(st.sampled_from([*COMPRESSORS, "identity", " GZIP ", ""]), max_size=3),
)
def test_codings_are_undone_in_reverse_order(content: bytes, names: list[str]) -> None:
    body = content
    for name in names:
        body = COMPRESSORS.get(name.strip().lower(), bytes)(body)
    assert decode(body, codings(",".join(names)), 1000) == content


@pytest.mark.parametrize(
    "body",
    [
        pack(CONTENT, level) for level in (0, 1, 9)
    ] + [
        pack(CONTENT[:7]) + pack(b"") + pack(CONTENT[7:]),
        pack(CONTENT) + bytes(512),
    ],
    ids=["stored", "fast", "best", "three members", "padded with zeros"],
)  # fmt: skip
def test_gzip_of_any_writer_is_unpacked(body: bytes) -> None:
    assert decode(body, ["gzip"], LIMIT) == CONTENT


@pytest.mark.parametrize("body", [zlib.compress(CONTENT), raw_deflate(CONTENT)])
def test_deflate_is_the_zlib_format_or_raw(body: bytes) -> None:
    assert decode(body, ["deflate"], LIMIT) == CONTENT


@pytest.mark.parametrize(
    ("coding", "body", "words"),
    [
        ("gzip", b"", "ends before its last byte"),
        ("gzip", pack(CONTENT)[:-1], "ends before its last byte"),
        ("gzip", pack(CONTENT)[:5], "ends before its last byte"),
        ("gzip", CONTENT, "not valid gzip"),
        ("gzip", zlib.compress(CONTENT), "not valid gzip"),
        ("gzip", pack(CONTENT) + b"more", "not valid gzip"),
        ("gzip", pack(CONTENT) + b"\0more", "not valid gzip"),
        ("gzip", pack(CONTENT)[:-8] + bytes(8), "not valid gzip"),
        ("gzip", pack(b"") * (MAX_MEMBERS + 1), "more than 1000 members"),
        ("deflate", b"", "ends before its last byte"),
        ("deflate", zlib.compress(CONTENT)[:-1], "ends before its last byte"),
        ("deflate", zlib.compress(CONTENT) + b"!", "1 bytes follow"),
        ("deflate", b"\x78\x9c not a stream", "not valid deflate"),
    ],
)
def test_what_is_not_the_coding_is_a_bad_body(coding: str, body: bytes, words: str) -> None:
    with pytest.raises(BadBody, match=words):
        decode(body, [coding], LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("size", [LIMIT + 1, 20 * 2**20])
def test_nothing_is_unpacked_beyond_the_limit(coding: str, size: int) -> None:
    body = COMPRESSORS[coding](bytes(size))
    started = time.process_time()
    with pytest.raises(BodyTooLarge, match=f"unpacks to more than {LIMIT} bytes"):
        decode(body, [coding], LIMIT)
    assert time.process_time() - started < 0.2


def test_the_limit_holds_for_every_coding_and_member() -> None:
    twice = pack(pack(bytes(20 * 2**20)))
    with pytest.raises(BodyTooLarge):
        decode(twice, ["gzip", "gzip"], LIMIT)
    with pytest.raises(BodyTooLarge):
        decode(pack(CONTENT) * 2, ["gzip"], LIMIT)


@pytest.mark.parametrize(
    "header",
    ["br", "zstd", "gzip, br", "compress", "gzip;q=1", "gzip gzip", ",".join(["gzip"] * 4)],
)
def test_an_unknown_coding_is_answered_with_the_known_ones(header: str) -> None:
    with pytest.raises(UnsupportedMedia, match="send gzip or deflate") as caught:
        codings(header)
    assert caught.value.headers == {"Accept-Encoding": "gzip, deflate, identity"}
