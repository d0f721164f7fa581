"""The label that people mean, however they write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.known_labels import KnownLabels

LABELS = KnownLabels(["cat", "dog", "polar bear", "Straße"])


@pytest.mark.parametrize(
    ("told", "label"),
    [
        ("cat", "cat"),
        ("Cat", "cat"),
        (" CAT\u00a0", "cat"),
        ("ｃａｔ", "cat"),
        ("Polar\u00a0 BEAR", "polar bear"),
        ("STRASSE", "Straße"),
        ("catt", None),
        ("polarbear", None),
        ("", None),
    ],
)
def test_case_and_blanks_do_not_matter(told: str, label: str | None) -> None:
    assert LABELS.find(told) == label


def test_of_labels_that_differ_by_case_the_first_is_found() -> None:
    labels = KnownLabels(["Cat", "dog", "cat"])
    assert labels.find("cat") == "Cat"
    assert list(labels) == ["Cat", "dog"]


@given(st.text())
def test_a_label_is_found_by_itself_and_by_its_cases(label: str) -> None:
    labels = KnownLabels([label])
    assert labels.find(f" {label} ") == labels.find(label.casefold()) == label
