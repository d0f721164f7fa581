"""Forms as clients write them."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serve_app.errors import BadBody
from serve_app.http.forms import MAX_HEAD_BYTES, MAX_PARTS, MAX_SEMICOLONS, Part, parse_form

BOUNDARY = "----edge7MA4YWxk"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
CONTENT = b"\r\n\x89PNG\r\n\r\n--\n--edge\r\r\n"  # line ends and hyphens like those of a form


def form(
    *heads: str, content: bytes = CONTENT, end: str = "\r\n", boundary: str = BOUNDARY
) -> bytes:
    body = b""
    for head in heads:
        lines = end.join((f"--{boundary}", *head.split("\n"), "", ""))
        body += lines.encode() + content + end.encode()
    return body + f"--{boundary}--{end}".encode()


def names(parts: list[Part]) -> list[str]:
    return [part.name for part in parts]


DISPOSITION = 'Content-Disposition: form-data; name="image"'
HEADS = [
    DISPOSITION,
    f'{DISPOSITION}; filename="cat.png"\nContent-Type: image/png',
    f'{DISPOSITION}; filename=""\nContent-Type: application/octet-stream',
    f"{DISPOSITION}; filename*=UTF-8''%E7%8C%AB.png",
    f'{DISPOSITION}; filename="Кот и 猫.png"',
    f'{DISPOSITION}; filename="a;name=other.png"',
    f'{DISPOSITION}; filename="a \\"quoted\\" name=.png"',
    "Content-Disposition: form-data; name=image; filename=cat.png",
    "Content-Disposition: form-data; name*=utf-8''image",
    'Content-Disposition: form-data; filename="name.png"; name="image"',
    'Content-Type: image/png\nContent-Length: 10\ncontent-disposition:form-data;NAME="image"',
    'CONTENT-DISPOSITION: form-data;\n name="image"',
]


@pytest.mark.parametrize("end", ["\r\n", "\n"], ids=["CRLF", "LF"])
@pytest.mark.parametrize("head", HEADS)
def test_a_field_is_found_by_its_name(head: str, end: str) -> None:
    (part,) = parse_form(CONTENT_TYPE, form(head, end=end))
    assert (part.name, part.content) == ("image", CONTENT)


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.sampled_from(["\r\n", "\n"]))
@example([b"\r"], "\n")
@example([b"\n"], "\r\n")
def test_the_content_is_that_of_the_part(contents: list[bytes], end: str) -> None:
    body = b"".join(
        f"--{BOUNDARY}{end}{DISPOSITION}{2 * end}".encode() + content + end.encode()
        for content in contents
    )
    parts = parse_form(CONTENT_TYPE, body + f"--{BOUNDARY}--".encode())
    assert [part.content for part in parts] == contents


@pytest.mark.parametrize(
    "body",
    [
        b"for old mailers\r\n" + form(DISPOSITION),
        b"\r\n\r\n" + form(DISPOSITION),
        form(DISPOSITION) + b"bye\r\n--" + BOUNDARY.encode() + b"\r\nnot a part",
        form(DISPOSITION).rstrip(),
        form(DISPOSITION).replace(BOUNDARY.encode() + b"\r\n", BOUNDARY.encode() + b" \t\r\n"),
    ],
    ids=["preamble", "empty lines", "epilogue", "no last line end", "padded delimiter"],
)
def test_what_surrounds_the_parts_is_ignored(body: bytes) -> None:
    (part,) = parse_form(CONTENT_TYPE, body)
    assert part.content == CONTENT


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('Multipart/Form-Data; Boundary="a b"', "a b"),
        ("multipart/form-data;boundary=x", "x"),
        ("multipart/form-data; charset=utf-8; boundary=x.+*(?", "x.+*(?"),
        ("multipart/form-data; charset=none; boundary=x", "x"),
        ('multipart/form-data; boundary="x:=/?"', "x:=/?"),
    ],
)
def test_a_boundary_may_be_quoted(content_type: str, boundary: str) -> None:
    assert names(parse_form(content_type, form(DISPOSITION, boundary=boundary))) == ["image"]


def test_a_longer_boundary_in_the_content_is_no_boundary() -> None:
    content = f"\r\n--{BOUNDARY}x\r\n--{BOUNDARY}--x\r\n".encode()
    (part,) = parse_form(CONTENT_TYPE, form(DISPOSITION, content=content))
    assert part.content == content


def test_the_types_of_a_part_are_in_lower_case() -> None:
    head = f"{DISPOSITION}\nContent-Type: Image/PNG; x=1\nContent-Transfer-Encoding: BASE64"
    (part,) = parse_form(CONTENT_TYPE, form(head))
    assert (part.media_type, part.transfer_encoding) == ("image/png", "base64")
    (part,) = parse_form(CONTENT_TYPE, form(DISPOSITION))
    assert (part.media_type, part.transfer_encoding) == ("text/plain", "binary")


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("multipart/form-data", form(DISPOSITION), "let the HTTP client set Content-Type"),
        ("multipart/form-data; boundary=", form(DISPOSITION), "no boundary"),
        ("multipart/form-data; boundary=other", form(DISPOSITION), "no line is '--other'"),
        ("multipart/form-data; boundary*0*=x''%zz", form(DISPOSITION), "form is malformed"),
        ("multipart/form-data; boundary=" + "b" * 500, form(DISPOSITION), "no line is '--bbb"),
        (CONTENT_TYPE, b"", "no line is"),
        (CONTENT_TYPE, form(DISPOSITION)[:-22], "closing boundary .* is missing"),
        (CONTENT_TYPE, f"--{BOUNDARY}".encode(), "closing boundary .* is missing"),
        (CONTENT_TYPE, form("No header"), "no header Content-Disposition"),
        (CONTENT_TYPE, form("Content-Disposition: form-data"), "no header Content-Disposition"),
        (CONTENT_TYPE, form(DISPOSITION + "\n" + "a" * MAX_HEAD_BYTES), "no empty line"),
        (CONTENT_TYPE, form(*[DISPOSITION + "\na: " + "a" * 4000] * 5), "headers of its parts"),
        (CONTENT_TYPE, form(*[DISPOSITION] * (MAX_PARTS + 1)), "more than 100 parts"),
    ],
)
def test_a_malformed_form_is_refused_in_words(content_type: str, body: bytes, words: str) -> None:
    with pytest.raises(BadBody, match=words) as caught:
        parse_form(content_type, body)
    assert len(str(caught.value)) < 300


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [b"\r\n", b"\n", b"--", BOUNDARY.encode(), DISPOSITION.encode(), b"; name*0*=", b'"',
             b"\\", b"; filename*1=", b"Content-Type: ", b"=?utf-8?q?x?=", b"\xff", b"x", b" "]
        ),
        max_size=30,
    )
)  # fmt: skip
def test_any_other_body_is_read_or_refused(pieces: list[bytes]) -> None:
    body = f"--{BOUNDARY}\r\n".encode() + b"".join(pieces) + f"\r\n--{BOUNDARY}--".encode()
    with contextlib.suppress(BadBody):
        parse_form(CONTENT_TYPE, body)


@pytest.mark.parametrize("piece", [b"\n--%sx", b"\n--%s\n", b"\n--", b"\n--%s \t", b"--%s;"])
def test_a_body_of_near_delimiters_is_read_in_little_time(piece: bytes) -> None:
    body = (piece.replace(b"%s", BOUNDARY.encode()) * 2**20)[: 10 * 2**20]
    started = time.process_time()
    with pytest.raises(BadBody):
        parse_form(CONTENT_TYPE, body)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("count", [MAX_SEMICOLONS - 2, MAX_SEMICOLONS - 1])
def test_a_header_has_a_limited_number_of_parameters(count: int) -> None:
    """The parser takes quadratic time in a quote that does not end."""
    head = 'Content-Disposition: form-data; name="image"; x="' + ";" * count
    content_type = f"{CONTENT_TYPE}; x=" + '"' + ";" * count
    if count + 2 <= MAX_SEMICOLONS:
        assert len(parse_form(content_type, form(head))) == 1
        return
    for wrong in ((content_type, form(DISPOSITION)), (CONTENT_TYPE, form(head))):
        with pytest.raises(BadBody, match="has more than 50 parameters"):
            parse_form(*wrong)


def test_the_headers_of_all_parts_have_a_limited_size() -> None:
    head = 'Content-Disposition: form-data; name="image"; a="' + "x" * 3900 + '"'
    assert len(parse_form(CONTENT_TYPE, form(*[head] * 4))) == 4
    with pytest.raises(BadBody, match="headers of its parts"):
        parse_form(CONTENT_TYPE, form(*[head] * 50))
