"""Latency buckets and the error of their quantiles."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.latency import (
    MAX_ERROR,
    MIN_MS,
    bucket_of,
    latency_limit,
    lower_edge_ms,
    quantile,
)

latencies = st.floats(MIN_MS, 1e7)
MANY_ANSWERS = {bucket_of(10): 94, bucket_of(200): 6}
FEW_ANSWERS = {bucket_of(20): 99}


@given(latencies)
def test_latency_is_between_the_edges_of_its_bucket(latency_ms: float) -> None:
    bucket = bucket_of(latency_ms)
    assert lower_edge_ms(bucket) <= latency_ms < lower_edge_ms(bucket + 1)


@given(st.integers(0, 380))
def test_lower_edge_belongs_to_the_bucket(bucket: int) -> None:
    assert bucket_of(lower_edge_ms(bucket)) == bucket
    assert bucket_of(np.nextafter(lower_edge_ms(bucket + 1), 0)) == bucket


def test_buckets_are_five_percent_wide() -> None:
    assert lower_edge_ms(31) / lower_edge_ms(30) == pytest.approx(1.05)
    assert 0.0246 < MAX_ERROR < 0.0247
    assert (bucket_of(0), bucket_of(0.05), bucket_of(0.1), bucket_of(0.106)) == (0, 0, 0, 1)


@given(st.lists(latencies, min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1]))
def test_quantile_is_within_max_error_of_the_sample_quantile(sample: list[float], q: float) -> None:
    exact = float(np.quantile(sample, q, method="inverted_cdf"))
    found = quantile(Counter(map(bucket_of, sample)), q)
    assert found is not None
    assert abs(np.log(found / exact)) <= np.log(1 + MAX_ERROR) + 1e-9


@given(st.lists(latencies, min_size=1), st.lists(latencies, min_size=1))
def test_sum_of_histograms_is_the_histogram_of_all(one: list[float], other: list[float]) -> None:
    parts = [Counter(map(bucket_of, part)) for part in (one, other)]
    assert quantile(parts[0] + parts[1], 0.5) == quantile(Counter(map(bucket_of, one + other)), 0.5)


def test_without_latencies_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({3: 0}, 0.5) is None


@pytest.mark.parametrize("latency_ms", [-1.0, float("inf"), float("nan")])
def test_latency_out_of_range_is_rejected(latency_ms: float) -> None:
    with pytest.raises(ValueError, match="latency_ms is"):
        bucket_of(latency_ms)


@pytest.mark.parametrize("q", [0, 1.1])
def test_quantile_out_of_range_is_rejected(q: float) -> None:
    with pytest.raises(ValueError, match="q is"):
        quantile({1: 1}, q)


class TestLimit:
    """An experiment that began at 1,000 ms and in which units settle in 500 ms."""

    def test_it_is_the_p95_before_the_experiment(self) -> None:
        found = latency_limit(MANY_ANSWERS, {}, 1000, 500, as_of_ms=1000)
        assert found is not None
        assert found.slow_ms == pytest.approx(200, rel=MAX_ERROR)
        assert found.hung_ms == 10 * found.slow_ms
        assert found.from_ms == 1000

    def test_with_few_answers_before_it_is_the_p95_of_the_first_time(self) -> None:
        found = latency_limit(FEW_ANSWERS, MANY_ANSWERS, 1000, 500, as_of_ms=1500)
        assert found is not None
        assert found.slow_ms == pytest.approx(200, rel=MAX_ERROR)
        assert found.from_ms == 1500

    def test_it_is_not_known_before_that_time_is_over(self) -> None:
        assert latency_limit(FEW_ANSWERS, MANY_ANSWERS, 1000, 500, as_of_ms=1499) is None

    def test_it_is_not_known_with_few_answers(self) -> None:
        assert latency_limit({}, FEW_ANSWERS, 1000, 500, as_of_ms=9999) is None
