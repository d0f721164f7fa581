from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve_app.privacy.pseudonyms import Pseudonymizer

PSEUDONYMIZER, OTHER_PSEUDONYMIZER = (
    Pseudonymizer(bytes(range(32))),
    Pseudonymizer(bytes(range(1, 33))),
)


def test_pseudonyms_do_not_change() -> None:
    """Golden value: a different hash would reassign every user."""
    assert PSEUDONYMIZER.pseudonym("anna") == "8b3c217f3b52f6612b1bc7b1a3f1a260"


@given(st.text(min_size=1, max_size=50), st.text(min_size=1, max_size=50))
def test_pseudonyms_differ_by_name_and_by_key(one: str, other: str) -> None:
    assert (PSEUDONYMIZER.pseudonym(one) == PSEUDONYMIZER.pseudonym(other)) == (one == other)
    assert len(bytes.fromhex(PSEUDONYMIZER.pseudonym(one))) == 16
    assert PSEUDONYMIZER.pseudonym(one) != OTHER_PSEUDONYMIZER.pseudonym(one)
