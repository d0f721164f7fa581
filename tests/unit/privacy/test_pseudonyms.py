from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve_app.privacy.pseudonyms import Pseudonymizer

ONE, OTHER = Pseudonymizer(bytes(range(32))), Pseudonymizer(bytes(range(1, 33)))


def test_the_pseudonym_of_a_unit_never_changes() -> None:
    """Golden value: a changed hash would silently reshuffle every live user."""
    assert ONE.pseudonym("anna") == "8b3c217f3b52f6612b1bc7b1a3f1a260"


@given(st.text(min_size=1, max_size=50), st.text(min_size=1, max_size=50))
def test_pseudonyms_differ_by_name_and_by_key(one: str, other: str) -> None:
    assert (ONE.pseudonym(one) == ONE.pseudonym(other)) == (one == other)
    assert len(bytes.fromhex(ONE.pseudonym(one))) == 16
    assert ONE.pseudonym(one) != OTHER.pseudonym(one)
