"""Labels and latencies over hours in which both versions served."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.hours import hour_weights
from serve_app.evidence.label_mix import LabelCount, LabelMix
from serve_app.evidence.latency import HourHistogram, balanced_quantiles, bucket_of

hours = st.lists(
    st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=2, max_size=2),
    max_size=6,
).map(lambda rows: np.array(rows, np.float64).reshape(-1, 2, 3))


@given(hours)
def test_weights_give_control_the_size_of_treatment_in_each_hour(
    counts: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    has_both, weights = hour_weights(counts)
    sizes = counts.sum(axis=2)
    assert has_both.tolist() == [bool(control and treatment) for control, treatment in sizes]
    assert weights[:, 1].tolist() == [1.0] * int(has_both.sum())
    assert weights[:, 0] * sizes[has_both, 0] == pytest.approx(sizes[has_both, 1])


@given(hours)
def test_a_version_that_predicts_the_same_in_each_hour_has_the_same_mix(
    counts: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    """Whatever the weight of the split was in each hour."""
    rows = [
        LabelCount((1, hour), arm, label, int(n) * (1 + arm * hour), 0.5)
        for hour, (control, _) in enumerate(counts)
        for arm in (0, 1)
        for label, n in zip("abc", control, strict=True)
        if n
    ]
    mix = LabelMix.from_counts(rows)
    assert mix.label_shares(0) == pytest.approx(mix.label_shares(1))
    assert sum(mix.label_shares(1).values()) == pytest.approx(1 if len(mix.counts) else 0)


def test_the_same_hour_of_another_epoch_is_another_hour() -> None:
    mix = LabelMix.from_counts(
        [
            LabelCount((1, 0), 0, "cat", 90, 45.0),
            LabelCount((1, 0), 1, "cat", 10, 9.0),
            LabelCount((2, 0), 0, "dog", 50, 50.0),
            LabelCount((2, 1), 1, "dog", 50, 50.0),
        ]
    )
    assert mix.label_counts(0) == {"cat": 90}
    assert mix.weighted_counts(0).tolist() == [10, 0]
    assert (mix.mean_confidence(0), mix.mean_confidence(1)) == (0.5, 0.9)
    assert mix.effective_size(0) == pytest.approx(9)


def histogram(hour: int, arm: int, **counts: int) -> HourHistogram:
    """Latencies in an hour; `ms10=3` is three of 10 ms."""
    buckets = [bucket_of(float(name.removeprefix("ms"))) for name in counts]
    return HourHistogram((1, hour), arm, np.array(buckets), np.array(list(counts.values())))


def test_quantiles_of_equal_versions_are_equal_whatever_the_weight_was() -> None:
    """Control has nine times as many latencies in the slow hour, and a third hour alone."""
    control, treatment = balanced_quantiles(
        [
            histogram(0, 0, ms10=45, ms80=45),
            histogram(0, 1, ms10=5, ms80=5),
            histogram(1, 0, ms10=90),
            histogram(1, 1, ms10=90),
            histogram(2, 0, ms999=500),
        ]
    )
    assert control == treatment
    assert control.p50 == pytest.approx(10, rel=0.03)
    assert control.p99 == pytest.approx(80, rel=0.03)


def test_without_latencies_of_both_versions_no_quantile_is_known() -> None:
    for histograms in ([], [histogram(0, 0, ms10=5)]):
        control, treatment = balanced_quantiles(histograms)
        assert control.p50 is treatment.p95 is None
