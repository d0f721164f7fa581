from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.errors import ForgedPrediction
from serve_app.privacy.prediction_ids import PredictionId, PredictionIdCodec

ONE, OTHER = PredictionIdCodec(bytes(range(32))), PredictionIdCodec(bytes(range(1, 33)))
SHOWN = PredictionId("0123456789ab", 7, 1_795_419_201_852, "9f31c0aa", "v2", "koala")
SHOWN_ID = "ASNFZ4mrAAAAAAAHES6yoXIZaFDFyICTYmnsGlD3fCLuTlhmJ913eBZMfxevJlWt"
ALPHABET = string.ascii_letters + string.digits + "-_"

hex_digits = st.text("0123456789abcdef", min_size=12, max_size=12)
predictions = st.builds(
    PredictionId,
    writer=hex_digits,
    sequence=st.integers(1, 2**48 - 1),
    at_ms=st.integers(0, 2**63),
    rule_id=hex_digits.map(lambda text: text[:8]),
    version=st.one_of(st.just(""), st.integers(0, 10**6).map(lambda n: f"v{n}")),
    label=st.one_of(
        st.sampled_from(["cat", "koala", "Beuteltier", "Küken", "考拉", "a b_c-d"]), st.text()
    ),
)


@given(predictions)
def test_an_id_says_what_it_was_made_of(prediction: PredictionId) -> None:
    assert ONE.decode(ONE.encode(prediction)) == prediction


def test_an_id_that_was_given_out_is_understood_for_good() -> None:
    """Golden value: feedback may come days later, to another release."""
    assert ONE.decode(SHOWN_ID) == SHOWN
    assert ONE.encode(SHOWN) == SHOWN_ID


@given(predictions)
def test_an_id_can_stand_in_a_url(prediction: PredictionId) -> None:
    assert set(ONE.encode(prediction)) <= set(ALPHABET)


@given(predictions, predictions)
def test_different_predictions_have_different_ids(one: PredictionId, other: PredictionId) -> None:
    assert (ONE.encode(one) == ONE.encode(other)) == (one == other)


@pytest.mark.parametrize("place", range(len(ONE.encode(SHOWN))))
def test_an_id_with_a_changed_character_is_forged(place: int) -> None:
    genuine = ONE.encode(SHOWN)
    other = ALPHABET[(ALPHABET.index(genuine[place]) + 1) % len(ALPHABET)]
    with pytest.raises(ForgedPrediction):
        ONE.decode(genuine[:place] + other + genuine[place + 1 :])


@given(st.text(max_size=120))
def test_an_invented_id_is_forged(text: str) -> None:
    with pytest.raises(ForgedPrediction):
        ONE.decode(text)


@given(st.text(ALPHABET, min_size=40, max_size=80))
def test_an_invented_id_of_the_right_alphabet_is_forged(text: str) -> None:
    with pytest.raises(ForgedPrediction):
        ONE.decode(text)


def test_an_id_of_another_key_is_forged() -> None:
    with pytest.raises(ForgedPrediction, match="was not given out here"):
        OTHER.decode(ONE.encode(SHOWN))


def test_every_part_of_an_id_is_needed() -> None:
    genuine = ONE.encode(SHOWN)
    for stop in range(len(genuine)):
        with pytest.raises(ForgedPrediction):
            ONE.decode(genuine[:stop])


def test_a_label_of_any_kind_may_stand_in_an_id() -> None:
    for label in ("", "Küken", "考拉", "🐨", "a b", "with\0nul"):
        labelled = replace(SHOWN, label=label)
        assert ONE.decode(ONE.encode(labelled)) == labelled


def test_ids_of_two_versions_look_alike() -> None:
    """An A/B test stays blind: neither the length nor a shared part tells the version."""
    ids = [
        ONE.encode(PredictionId("0123456789ab", n, SHOWN.at_ms, "9f31c0aa", version, "cat"))
        for n, version in enumerate(("v1", "v1", "v2"), 1)
    ]
    first, second, treated = (text[16:] for text in ids)  # after the nonce
    shared = [sum(a == b for a, b in zip(first, text, strict=True)) for text in (second, treated)]
    assert max(shared) < len(first) / 4
