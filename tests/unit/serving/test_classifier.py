"""What a replica makes of its network's numbers; Serve is not there."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from models import classifier
from models.network import Floats
from models.preprocess import Pixels
from serve_app.data_plane.pools import Answer, CannotAnswer

with warnings.catch_warnings():  # Serve's modules use what pydantic will take away
    warnings.simplefilter("ignore")
    from serve_app.serving.classifier import _answer

V1 = classifier.load("v1")
SIDE = V1.card.input.side
TWO = np.zeros((2, SIDE, SIDE, 3), np.uint8)


def test_probabilities_are_an_answer() -> None:
    answer = _answer(V1, TWO)
    assert isinstance(answer, Answer)
    assert (answer.version, answer.labels) == ("v1", ("cat", "dog"))
    assert answer.probabilities == pytest.approx(V1.probabilities(TWO))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_is_none(number: float) -> None:
    class Broken:
        """A network with a hole in its last answer."""

        def logits(self, pixels: Pixels) -> Floats:
            """See `Network.logits`."""
            logits = np.zeros((len(pixels), 2), np.float32)
            logits[-1, 0] = number
            return logits

    broken = replace(V1, network=Broken())
    with np.errstate(invalid="ignore"):
        assert _answer(broken, TWO) == CannotAnswer("the network of v1 gave no probabilities")
