"""Placeholders for a missing id."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.privacy.illegal_ids import ILLEGAL_IDS, IllegalIds

IDS = IllegalIds()
ZERO_UUID = "00000000-0000-0000-0000-000000000000"
BLANKS = st.text(st.sampled_from(" \t\u00a0\u200b\ufeff\"'(){}<>$%“”"), max_size=4)


@pytest.mark.parametrize(
    "name",
    ["undefined", "null", "None", "NaN", "nil", "[object Object]", "-1", "anonymous", "guest",
     "not_authenticated", "NotAuthenticated", "unknown", "true", "FALSE", "N/A", "ＮＵＬＬ"],
)  # fmt: skip
def test_values_of_clients_that_know_no_user_are_illegal(name: str) -> None:
    assert name in IDS


@pytest.mark.parametrize("name", ["0", "0000", "-0", "0.0", "0-0", ZERO_UUID])
def test_zeros_are_illegal(name: str) -> None:
    assert name in IDS


@pytest.mark.parametrize(
    "name", ["", " ", '""', "''", "{}", "[]", "-", "--", "\u200b", "undefined"]
)
def test_an_id_without_a_word_is_illegal_whatever_the_list(name: str) -> None:
    assert (name in IllegalIds([])) == (name != "undefined")


@pytest.mark.parametrize(
    "name", ["undefined-undefined", "null:null", "null_0", "{{user_id}}", "${userId}", "%USER_ID%"]
)
def test_parts_that_are_all_illegal_and_names_of_variables_are_illegal(name: str) -> None:
    assert name in IDS


@pytest.mark.parametrize(
    "name",
    ["alice", "1", "-2", "10", "-10", "42", "u-0", "acme-undefined", "nullable", "Guesty", "🐨",
     "考拉", "00000000-0000-0000-0000-000000000001", "null@example.org", "1-1", "guest-7"],
)  # fmt: skip
def test_other_ids_are_legal(name: str) -> None:
    assert name not in IDS


@given(st.sampled_from(ILLEGAL_IDS), BLANKS, BLANKS, st.booleans())
def test_case_blanks_and_punctuation_do_not_matter(
    name: str, before: str, after: str, is_upper: bool
) -> None:
    assert before + (name.upper() if is_upper else name.title()) + after in IDS


@given(st.integers(1, 2**63).map(str) | st.uuids(version=4).map(str) | st.emails())
def test_numbers_uuids_and_addresses_are_legal(name: str) -> None:
    assert name not in IDS


def test_a_list_replaces_the_default() -> None:
    own = IllegalIds(["test", "99"])
    assert "Test" in own
    assert "99" in own
    assert "null" not in own
    assert "0" not in own
