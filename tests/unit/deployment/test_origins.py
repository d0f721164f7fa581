"""The entries of `cors_origins`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from serve_app.deployment.args import AnimalsArgs


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://app.example.org",
        "http://localhost:3000",
        "https://xn--r8jz45g.xn--zckzah",
        "http://[::1]:8080",
        "http://my_host",
        "capacitor://localhost",
    ],
)
def test_an_origin_is_accepted(origin: str) -> None:
    assert AnimalsArgs(cors_origins=[origin]).cors_origins == [origin]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://app.example.org/", "https://app.example.org"),
        ("https://App.Example.org", "https://app.example.org"),
        ("https://app.example.org:443", "https://app.example.org"),
        ("http://app.example.org:80/path?query", "http://app.example.org"),
        ("https://user:secret@app.example.org", "https://app.example.org"),
        (" https://app.example.org", "https://app.example.org"),
        ("https://例え.テスト", "https://xn--r8jz45g.xn--zckzah"),
        ("HTTP://localhost:3000", "http://localhost:3000"),
    ],
)
def test_another_spelling_is_refused_with_the_right_one(text: str, expected: str) -> None:
    with pytest.raises(ValidationError, match="is not how browsers send it") as caught:
        AnimalsArgs(cors_origins=[text])
    assert f"write {expected} " in f"{caught.value.errors()[0]['msg']} "


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "app.example.org",
        "localhost:3000",
        "https://",
        "https://*.example.org",
        "https://a b",
        "https://example.org:99999",
        "//example.org",
        "file://",
        "https://" + "a" * 70,
    ],
)
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="is not an origin: write scheme and host"):
        AnimalsArgs(cors_origins=[text])


def test_one_text_is_no_list() -> None:
    with pytest.raises(ValidationError):
        AnimalsArgs.model_validate({"cors_origins": "https://app.example.org"})
