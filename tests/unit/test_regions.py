from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.regions import country


@pytest.mark.parametrize(
    ("given_code", "found"),
    [("AU", "AU"), ("au", "AU"), (" nZ ", "NZ"), ("DE", "DE"), ("GB", "GB")],
)
def test_a_country_is_known_by_its_code(given_code: str, found: str) -> None:
    assert country(given_code) == found


@pytest.mark.parametrize(
    "text",
    ["", " ", "AUS", "036", "UK", "EU", "XX", "T1", "Australia", "A\x00", "ÅU", "AU" * 500],
)
def test_anything_else_is_no_country(text: str) -> None:
    """`XX` and `T1` are what Cloudflare sends for unknown and for Tor."""
    assert country(text) is None


@given(st.text(max_size=12))
def test_what_is_found_is_two_capital_letters(text: str) -> None:
    found = country(text)
    assert found is None or (len(found) == 2 and found.isalpha() and found.isupper())
