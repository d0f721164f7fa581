"""Base64 as tools write it."""

from __future__ import annotations

import base64
import contextlib
import textwrap
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.http.base64_text import decode_base64


def plain(data: bytes) -> str:
    return base64.b64encode(data).decode()


WRITERS: dict[str, Callable[[bytes], str]] = {
    "one line": plain,
    "lines of 76": lambda data: base64.encodebytes(data).decode(),
    "lines of 64 with CRLF": lambda data: "\r\n".join(textwrap.wrap(plain(data), 64)),
    "spaces around": lambda data: f" \t{plain(data)}\n",
    "URL-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
    "without padding": lambda data: plain(data).rstrip("="),
    "URL-safe without padding": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "data URL": lambda data: f"data:image/png;base64,{plain(data)}",
    "data URL without a type": lambda data: f"DATA:;BASE64,{plain(data)}",
    "data URL with parameters": lambda data: f"data:image/png;name=a.png;base64,{plain(data)}",
    "data URL with escaped line ends": lambda data: (
        "data:;base64," + base64.encodebytes(data).decode().replace("\n", "%0d%0a")
    ),
    "data URL with escapes": lambda data: f"data:image/png;base64,{quote(plain(data), safe='')}",
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@settings(max_examples=30)
@given(data=st.binary(max_size=200))
def test_what_tools_write_is_read(writer: Callable[[bytes], str], data: bytes) -> None:
    assert decode_base64(writer(data)) == data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("QUJD%", "character '%' after 4 characters"),
        ("b'QUJD'", '"\'" after 1 characters'),
        ("QUJDä", "character 'ä' after 4 characters"),
        ("QQ==QUJD", "padding .* is not at its end"),
        ("QUJDR", "5 characters"),
        ("data:image/png,QUJD", "begins with 'data:image/png'"),
        ("data:image/png;base64", "a data URL"),
        ("https://example.org/cat.png", "character ':'"),
    ],
)
def test_a_refusal_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode_base64(text)


@pytest.mark.parametrize("escape", ["%41", "%2B%0a", "%", "%2"])
def test_escapes_take_bounded_time(escape: str) -> None:
    started = time.process_time()
    with contextlib.suppress(ValueError):
        decode_base64("data:;base64," + escape * (10_000_000 // len(escape)))
    assert time.process_time() - started < 0.5


@settings(max_examples=300)
@given(st.text() | st.text("QUJD=-_+/ \n%,;:data", max_size=30))
def test_any_other_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        decode_base64(text)
