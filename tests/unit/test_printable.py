"""Which text of users can be stored and shown as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.printable import unprintable


@pytest.mark.parametrize(
    "text", ["", "cat", "Schnabeltier ä", "考拉", "a b", "می‌خواهم", "👩‍🚀", "~!'\"<>&"]
)
def test_words_of_all_scripts_can_be_shown(text: str) -> None:
    assert unprintable(text) is None


@pytest.mark.parametrize(
    ("character", "code"),
    [
        ("\0", "U+0000"),
        ("\n", "U+000A"),
        ("\x7f", "U+007F"),
        ("\x85", "U+0085"),
        ("\u200b", "U+200B (ZERO WIDTH SPACE)"),
        ("\u202e", "U+202E (RIGHT-TO-LEFT OVERRIDE)"),
        ("\u2066", "U+2066 (LEFT-TO-RIGHT ISOLATE)"),
        ("\u2028", "U+2028 (LINE SEPARATOR)"),
        ("\ufeff", "U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        ("\ud800", "U+D800"),
        ("\ue000", "U+E000"),
        ("\uffff", "U+FFFF"),
        ("\U000e0041", "U+E0041 (TAG LATIN CAPITAL LETTER A)"),
    ],
)
def test_a_character_that_hides_is_named_with_its_place(character: str, code: str) -> None:
    assert unprintable(f"ca{character}t") == f"character 3 is {code}, which cannot be shown"


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])))
def test_text_of_seen_characters_can_be_shown(text: str) -> None:
    assert unprintable(text) is None
