from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.errors import InvalidPredictionId
from serve_app.privacy.prediction_ids import PredictionId, PredictionIdCodec

CODEC, OTHER_CODEC = PredictionIdCodec(bytes(range(32))), PredictionIdCodec(bytes(range(1, 33)))
EXAMPLE = PredictionId("0123456789ab", 7, 1_795_419_201_852, "9f31c0aa", "v2", "koala")
EXAMPLE_ID = "ASNFZ4mrAAAAAAAHES6yoXIZaFDFyICTYmnsGlD3fCLuTlhmJ913eBZMfxevJlWt"
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
def test_decode_reverses_encode(prediction: PredictionId) -> None:
    assert CODEC.decode(CODEC.encode(prediction)) == prediction


def test_the_format_of_ids_does_not_change() -> None:
    """Golden value: feedback may arrive days later, at another release."""
    assert CODEC.decode(EXAMPLE_ID) == EXAMPLE
    assert CODEC.encode(EXAMPLE) == EXAMPLE_ID


@given(predictions)
def test_an_id_is_url_safe(prediction: PredictionId) -> None:
    assert set(CODEC.encode(prediction)) <= set(ALPHABET)


@given(predictions, predictions)
def test_different_predictions_have_different_ids(one: PredictionId, other: PredictionId) -> None:
    assert (CODEC.encode(one) == CODEC.encode(other)) == (one == other)


@pytest.mark.parametrize("place", range(len(CODEC.encode(EXAMPLE))))
def test_an_id_with_a_changed_character_is_invalid(place: int) -> None:
    genuine = CODEC.encode(EXAMPLE)
    other = ALPHABET[(ALPHABET.index(genuine[place]) + 1) % len(ALPHABET)]
    with pytest.raises(InvalidPredictionId):
        CODEC.decode(genuine[:place] + other + genuine[place + 1 :])


@given(st.text(max_size=120))
def test_arbitrary_text_is_invalid(text: str) -> None:
    with pytest.raises(InvalidPredictionId):
        CODEC.decode(text)


@given(st.text(ALPHABET, min_size=40, max_size=80))
def test_arbitrary_text_of_the_alphabet_is_invalid(text: str) -> None:
    with pytest.raises(InvalidPredictionId):
        CODEC.decode(text)


def test_an_id_of_another_key_is_invalid() -> None:
    with pytest.raises(InvalidPredictionId, match="is not from this service"):
        OTHER_CODEC.decode(CODEC.encode(EXAMPLE))


def test_a_truncated_id_is_invalid() -> None:
    genuine = CODEC.encode(EXAMPLE)
    for stop in range(len(genuine)):
        with pytest.raises(InvalidPredictionId):
            CODEC.decode(genuine[:stop])


def test_any_label_can_be_encoded() -> None:
    for label in ("", "Küken", "考拉", "🐨", "a b", "with\0nul"):
        labelled = replace(EXAMPLE, label=label)
        assert CODEC.decode(CODEC.encode(labelled)) == labelled


def test_ids_do_not_reveal_the_version() -> None:
    """An A/B test stays blind: neither the length nor a common part depends on the version."""
    ids = [
        CODEC.encode(PredictionId("0123456789ab", n, EXAMPLE.at_ms, "9f31c0aa", version, "cat"))
        for n, version in enumerate(("v1", "v1", "v2"), 1)
    ]
    first, second, treated = (text[16:] for text in ids)  # after the nonce
    shared = [sum(a == b for a, b in zip(first, text, strict=True)) for text in (second, treated)]
    assert max(shared) < len(first) / 4
