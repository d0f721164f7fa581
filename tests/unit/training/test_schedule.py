from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.config import Config, Phase
from training.fit import learning_rate


def config(peak: float = 0.002, warmup: float = 0.05) -> Config:
    return Config(
        version="v1",
        labels=("cat", "dog"),
        phases=(Phase(epochs=1, side=48),),
        learning_rate=peak,
        warmup_share=warmup,
    )


@settings(deadline=None, derandomize=True)
@given(peak=st.floats(1e-5, 1), warmup=st.floats(0.001, 0.9))
def test_the_rate_rises_to_its_peak_and_falls_to_zero(peak: float, warmup: float) -> None:
    schedule = config(peak, warmup)
    rising = [learning_rate(schedule, p) for p in np.linspace(0, warmup, 20)]
    falling = [learning_rate(schedule, p) for p in np.linspace(warmup, 1, 50)]
    assert rising[0] == 0
    assert (np.diff(rising) > 0).all()
    assert rising[-1] == falling[0] == pytest.approx(peak)
    assert (np.diff(falling) < 0).all()
    assert falling[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("progress", "share"),
    [(0, 0), (0.05, 0.25), (0.1, 0.5), (0.2, 1), (0.4, 0.8535534), (0.6, 0.5), (1, 0)],
)
def test_the_warm_up_is_linear_and_the_decay_a_cosine(progress: float, share: float) -> None:
    rate = learning_rate(config(0.002, warmup=0.2), progress)
    assert rate == pytest.approx(0.002 * share, abs=1e-9)


def test_without_warm_up_the_rate_starts_at_its_peak() -> None:
    assert learning_rate(config(0.002, warmup=0), 0) == 0.002


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5])
def test_the_rate_is_continuous(warmup: float) -> None:
    rates = [learning_rate(config(1, warmup), p) for p in np.linspace(0, 1, 1001)]
    assert np.abs(np.diff(rates)).max() < 0.025
