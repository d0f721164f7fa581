"""Weights, rates and loads of a shadow, by hand and against simulations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS

from serve_app.evidence.confidence import Interval, Rate, bonferroni, confidence_sequence, rate
from serve_app.evidence.copies import Copies, Load, weight_copies
from serve_app.evidence.drift import DRIFT_ALPHA
from serve_app.evidence.load import summarize_load
from serve_app.evidence.shadow import (
    estimate_agreement,
    estimate_drift,
    estimate_failure_rate,
    estimate_hijack_rate,
    estimate_latency_difference,
    estimate_new_label_rate,
    estimate_new_label_rate_by_hour,
    estimate_new_label_rate_by_region,
    estimate_transitions,
)
from serve_app.evidence.units import Floats, Ints

SHARED = ("cat", "dog")
LABELS = ("cat", "dog", "koala")


def copies(*rows: tuple[int, str, str, str, float]) -> Copies:
    minute, region, stable, candidate, images = zip(*rows, strict=True)
    return Copies(
        np.array(minute, np.int64),
        np.array(region, np.str_),
        np.array(stable, np.str_),
        np.array(candidate, np.str_),
        np.array(images, np.float64),
    )


def load(*rows: tuple[int, float, float, float, float], sample: float = 1.0) -> Load:
    """Minute, answered, copied, shed, failed."""
    minute, *counts = zip(*rows, strict=True)
    answered, copied, shed, failed = (np.array(c, np.float64) for c in counts)
    return Load(np.array(minute, np.int64), answered, copied, shed, failed, sample * answered)


def sums(*rows: tuple[int, float, float, float]) -> tuple[Ints, Floats, Floats, Floats]:
    """Columns of unit, pairs, the sum of their differences and that of the squares."""
    unit, *others = zip(*rows, strict=True)
    pairs, total, squares = (np.array(column, np.float64) for column in others)
    return np.array(unit, np.int64), pairs, total, squares


# In the second minute, two of ten images were copied, and one copy failed.
TWO_MINUTES = copies(
    (1, "AU", "cat", "cat", 6),
    (1, "AU", "cat", "koala", 2),
    (1, "NZ", "dog", "dog", 2),
    (2, "AU", "dog", "cat", 1),
    (2, "AU", "dog", "koala", 1),
)
TWO_MINUTES_LOAD = load((1, 10, 10, 0, 0), (2, 10, 2, 7, 1))


class TestRates:
    def test_minutes_are_weighted_by_images_not_by_copies(self) -> None:
        """Weights 1 and 5. Of shared labels 6 + 2 agree and 1 x 5 does not; 2 + 5 of 20 are new."""
        agreement = estimate_agreement(TWO_MINUTES, TWO_MINUTES_LOAD, SHARED)
        assert agreement.rate.estimate == pytest.approx(8 / 13)
        assert agreement.images == 9
        new = estimate_new_label_rate(TWO_MINUTES, TWO_MINUTES_LOAD, SHARED)
        assert new.rate.estimate == pytest.approx(7 / 20)
        assert new.images == 12

    def test_weights_lower_the_effective_sample_size(self) -> None:
        """Kish: at most 20^2 / (10 * 1 + 2 * 25)."""
        new = estimate_new_label_rate(TWO_MINUTES, TWO_MINUTES_LOAD, SHARED)
        assert new.rate.trials <= 400 / 60 + 1e-9

    def test_intervals_by_region_and_hour_are_simultaneous(self) -> None:
        by_region = estimate_new_label_rate_by_region(TWO_MINUTES, TWO_MINUTES_LOAD, SHARED, {})
        assert by_region["AU"].rate.estimate == pytest.approx(7 / 18)
        assert by_region["NZ"].rate.estimate == 0
        assert by_region["NZ"].rate.interval == rate(0, 2, bonferroni(0.05, 2)).interval
        late = replace(TWO_MINUTES, minute=np.array([59, 59, 59, 60, 60]))
        by_hour = estimate_new_label_rate_by_hour(
            late, load((59, 10, 10, 0, 0), (60, 10, 2, 8, 0)), SHARED
        )
        assert {h: r.rate.estimate for h, r in by_hour.items()} == {
            0: pytest.approx(0.2),
            1: pytest.approx(0.5),
        }

    def test_without_weights_and_clusters_the_interval_is_that_of_a_share(self) -> None:
        """5,000 minutes with one image each, all copied."""
        rng = np.random.default_rng(1)
        same = rng.random(5000) < 0.9
        rows = copies(
            *((m, "AU", "cat", "cat" if s else "dog", 1) for m, s in enumerate(same.tolist()))
        )
        full = load(*((m, 1, 1, 0, 0) for m in range(5000)))
        found, plain = estimate_agreement(rows, full, SHARED).rate, rate(float(same.sum()), 5000)
        assert found.trials == pytest.approx(5000, rel=1e-3)
        assert found.interval.low == pytest.approx(plain.interval.low, abs=1e-5)

    def test_design_effect_divides_the_effective_sample_size(self) -> None:
        """By 5, and only in the regions that have it."""
        rows = copies((1, "AU", "cat", "koala", 500), (1, "NZ", "cat", "cat", 500))
        full = load((1, 1000, 1000, 0, 0))
        assert (
            estimate_new_label_rate(rows, full, SHARED, 5).rate.interval == rate(100, 200).interval
        )
        assert estimate_agreement(rows, full, SHARED, 5).rate.interval == rate(100, 100).interval
        by_region = estimate_new_label_rate_by_region(rows, full, SHARED, {"AU": 5})
        assert by_region["AU"].rate.trials == pytest.approx(100)
        assert by_region["NZ"].rate.trials == pytest.approx(500)
        assert estimate_new_label_rate_by_hour(rows, full, SHARED, 5)[
            0
        ].rate.trials == pytest.approx(200)

    def test_full_agreement_has_an_interval(self) -> None:
        found = estimate_agreement(
            copies((1, "", "cat", "cat", 100)), load((1, 100, 100, 0, 0)), SHARED
        ).rate
        assert found.interval == rate(100, 100).interval

    def test_without_copies_nothing_is_known(self) -> None:
        none = copies((1, "", "cat", "koala", 0))
        found = estimate_agreement(none, load((1, 9, 0, 9, 0)), SHARED)
        assert found.rate.estimate is None
        assert found.rate.interval == Interval(0, 1)
        assert estimate_transitions(none, load((1, 9, 0, 9, 0))).shares.sum() == 0

    @given(st.integers(0, 10_000))
    def test_rows_are_summed_in_any_order(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows = [
            (int(rng.integers(1, 4)), "AU", *rng.choice(LABELS, 2).tolist(), float(images))
            for images in rng.integers(1, 5, 12)
        ]
        loads = [(minute, 100.0, 60.0, 30.0, 10.0) for minute in (1, 2, 3)]
        halves = [(*row[:4], row[4] / 2) for row in rows] * 2
        rng.shuffle(halves)
        quarters = [(m, a / 4, c / 4, s / 4, f / 4) for m, a, c, s, f in loads] * 4
        one = estimate_agreement(copies(*rows), load(*loads), SHARED).rate
        other = estimate_agreement(copies(*halves), load(*quarters), SHARED).rate
        assert other.successes == pytest.approx(one.successes, rel=1e-7, abs=1e-9)
        assert other.trials == pytest.approx(one.trials, rel=1e-7)


def test_weights_remove_the_bias_of_shedding_in_busy_minutes() -> None:
    """Koalas come in quiet minutes, which are copied completely; in busy ones, 80 % are shed. Seed
    5; the unweighted rate is biased, the truth is in the interval of the weighted rate."""
    rng = np.random.default_rng(5)
    rows, loads = [], []
    truth = total = 0
    for minute in range(400):
        is_busy = minute % 2 == 0
        answered = int(rng.poisson(100 if is_busy else 20))
        koalas = int(rng.binomial(answered, 0.05 if is_busy else 0.6))
        copied = int(rng.binomial(answered, 0.2)) if is_busy else answered
        shown = int(rng.hypergeometric(koalas, answered - koalas, copied)) if copied else 0
        rows += [
            (minute, "AU", "cat", "koala", shown),
            (minute, "AU", "cat", "cat", copied - shown),
        ]
        loads.append((minute, answered, copied, answered - copied, 0))
        truth, total = truth + koalas, total + answered
    found = estimate_new_label_rate(copies(*rows), load(*loads), SHARED)
    naive = sum(row[4] for row in rows if row[3] == "koala") / found.images
    assert truth / total in found.rate.interval
    assert found.rate.estimate == pytest.approx(truth / total, abs=0.01)
    assert naive > truth / total + 0.1


class TestSamples:
    def test_quiet_minutes_count_as_busy_ones(self) -> None:
        """100 minutes with two koalas each and 10 minutes with 60 dogs each: 25 % koalas. A weight
        for each minute would give 6 %, because most quiet minutes have no copy."""
        rng = np.random.default_rng(11)
        images = [(minute, "koala", 2) for minute in range(100)]
        images += [(minute, "dog", 60) for minute in range(100, 110)]
        found = [estimate_sampled(rng, images, 0.1) for _ in range(400)]
        estimates = [rate.estimate or 0.0 for rate in found]
        covered = np.mean([0.25 in rate.interval for rate in found])
        print(
            f"two koalas a minute, sample 0.1, seed 11: mean {np.mean(estimates):.3f}, {covered=}"
        )
        assert np.mean(estimates) == pytest.approx(0.25, abs=0.01)
        assert covered >= 0.95

    @pytest.mark.slow
    @pytest.mark.parametrize("sample", [0.3, 0.1, 0.03])
    def test_the_rate_of_days_and_nights_is_covered(self, sample: float) -> None:
        """30 days with 60 images a minute by day, 5 % of them koalas, and 3 by night, 40 %: 6.67 %
        in all. 40 shadows of each sample, seed 12."""
        rng = np.random.default_rng(12)
        truth = (60 * 0.05 + 3 * 0.4) / 63
        found, copied = [], 0.0
        for _ in range(40):
            minutes = np.arange(30 * 24 * 60)
            is_day = minutes // 60 % 24 < 12
            answered = rng.poisson(np.where(is_day, 60, 3))
            tried = rng.binomial(answered, sample)
            koalas = rng.binomial(tried, np.where(is_day, 0.05, 0.4))
            found.append(rate_of(minutes, answered, tried, koalas, sample))
            copied += tried.sum()
        estimates = [rate.estimate or 0.0 for rate in found]
        covered = np.mean([truth in rate.interval for rate in found])
        effective = sum(rate.trials for rate in found) / copied
        print(f"{sample=}, seed 12: mean {np.mean(estimates):.4f}, {covered=}, {effective=:.3f}")
        assert np.mean(estimates) == pytest.approx(truth, abs=0.003)
        assert covered >= 0.95
        assert effective > 0.9

    def test_times_without_a_copy_are_not_covered(self) -> None:
        """All copies of the first 20 minutes were shed."""
        loads = [(m, 10.0, 0.0, 5.0, 0.0) for m in range(20)]
        loads += [(m, 10.0, 5.0, 0.0, 0.0) for m in range(20, 60)]
        rows = copies(*((m, "AU", "cat", "cat", 5.0) for m in range(20, 60)))
        assert weight_copies(rows, load(*loads, sample=0.5)).covered_share == pytest.approx(2 / 3)

    def test_cells_do_not_cross_a_change_of_the_sample(self) -> None:
        """All images of the first ten minutes are copied, one in ten of the others."""
        first = [(m, 10.0, 10.0, 0.0, 0.0) for m in range(10)]
        other = [(m, 10.0, 1.0, 0.0, 0.0) for m in range(10, 20)]
        loads = load(*first, *other)
        loads = replace(loads, expected=np.repeat([10.0, 1.0], 10))
        rows = copies(*((m, "AU", "cat", "cat", 10.0 if m < 10 else 1.0) for m in range(20)))
        assert weight_copies(rows, loads).weight.tolist() == [1.0] * 10 + [10.0] * 10

    @given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.floats(0.01, 0.9))
    def test_weights_sum_to_the_answered_images_that_are_covered(
        self, answered: list[int], sample: float
    ) -> None:
        tried = [count // 3 for count in answered]
        found = weight_copies(
            copies(*((m, "AU", "cat", "cat", float(n)) for m, n in enumerate(tried))),
            load(
                *(
                    (m, float(n), float(k), 0.0, 0.0)
                    for m, (n, k) in enumerate(zip(answered, tried, strict=True))
                ),
                sample=sample,
            ),
        )
        total = float(sum(answered)) or 1.0
        assert found.images @ found.weight / total == pytest.approx(
            found.covered_share if sum(answered) else 0.0
        )


def rate_of(minutes: Ints, answered: Ints, tried: Ints, koalas: Ints, sample: float) -> Rate:
    """The rate of koalas among copies, by minute."""
    images, copied = answered.astype(np.float64), tried.astype(np.float64)
    half = np.full(len(minutes), "AU")
    found = Copies(
        np.tile(minutes, 2),
        np.tile(half, 2),
        np.full(2 * len(minutes), "dog"),
        np.repeat(["koala", "dog"], len(minutes)),
        np.concatenate([koalas, tried - koalas]).astype(np.float64),
    )
    zeros = np.zeros(len(minutes))
    loads = Load(minutes, images, copied, zeros, zeros, sample * images)
    return estimate_new_label_rate(found, loads, SHARED).rate


def estimate_sampled(
    rng: np.random.Generator, images: list[tuple[int, str, int]], sample: float
) -> Rate:
    """The rate of koalas in a random sample of images."""
    minutes = np.array([minute for minute, _, _ in images])
    answered = np.array([count for _, _, count in images])
    tried = rng.binomial(answered, sample)
    is_koala = np.array([label == "koala" for _, label, _ in images])
    return rate_of(minutes, answered, tried, tried * is_koala, sample)


class TestFailures:
    """Of 100 images, the candidate fails on each of 50 dogs and agrees on each cat."""

    ROWS = copies((1, "AU", "cat", "cat", 50), (1, "AU", "dog", "", 50))
    LOAD = load((1, 100, 50, 0, 50))

    def test_failed_copies_have_a_rate(self) -> None:
        found = estimate_failure_rate(self.ROWS, self.LOAD)
        assert (found.rate.estimate, found.images) == (0.5, 100)
        assert found.rate.interval == rate(50, 100).interval

    def test_agreement_with_failures_counts_them_as_disagreements(self) -> None:
        alone = estimate_agreement(self.ROWS, self.LOAD, SHARED)
        bound = estimate_agreement(self.ROWS, self.LOAD, SHARED, with_failures=True)
        assert (alone.rate.estimate, bound.rate.estimate) == (1.0, 0.5)

    def test_failed_copies_are_no_new_labels(self) -> None:
        assert estimate_new_label_rate(self.ROWS, self.LOAD, SHARED).images == 50
        assert estimate_transitions(self.ROWS, self.LOAD).candidate == ("cat",)


class TestDrift:
    """5 % koalas by day, 60 % by night, from 18 to 24 h; 100 images in each hour."""

    RUNS = 300

    def drifts(
        self, hours: int, change: float = 0.0, late_night_images: int = 100, user_images: int = 1
    ) -> list[bool | None]:
        """Whether there is drift, in each run.

        Args:
            change: Of the share of koalas, in the second half of the hours.
            late_night_images: In each night hour of the second half.
            user_images: A user sends this many images of one animal in an hour.
        """
        rng = np.random.default_rng(13)
        hour = np.arange(hours)
        is_night, is_late = hour % 24 >= 18, hour >= hours / 2
        share = np.where(is_night, 0.6, 0.05) + change * is_late
        users = np.where(is_night & is_late, late_night_images, 100) // user_images
        minutes, shares = (np.repeat(column, users) for column in (hour * 60, share))
        found = []
        for _ in range(self.RUNS):
            is_koala = rng.random(len(minutes)) < shares
            labels = np.where(is_koala, "koala", "dog")
            images = np.full(len(minutes), float(user_images))
            drift = estimate_drift(minutes, labels, images, float(user_images))
            found.append(drift.is_drift if drift else None)
        return found

    @pytest.mark.parametrize(
        ("hours", "late_night_images", "user_images"),
        [(96, 100, 1), (96, 300, 1), (36, 100, 1), (96, 300, 10)],
    )
    def test_a_day_and_a_night_are_no_drift(
        self, hours: int, late_night_images: int, user_images: int
    ) -> None:
        """Also where the second half has more of the night: in 36 hours, the first half has none.
        At most the 99.9 % quantile of alarms at three times alpha, seed 13."""
        found = self.drifts(hours, 0.0, late_night_images, user_images)
        print(f"{hours} h, {late_night_images=}, {user_images=}: {sum(map(bool, found))} alarms")
        assert None not in found
        assert sum(map(bool, found)) <= stats.binom.ppf(0.999, self.RUNS, 3 * DRIFT_ALPHA)

    def test_a_change_at_like_hours_is_drift(self) -> None:
        assert all(self.drifts(96, change=0.1))
        assert all(self.drifts(36, change=0.1))

    def test_without_like_hours_nothing_is_known(self) -> None:
        assert set(self.drifts(12)) == set(self.drifts(0)) == {None}


def test_transitions_are_weighted_shares() -> None:
    found = estimate_transitions(TWO_MINUTES, TWO_MINUTES_LOAD)
    assert (found.stable, found.candidate) == (("cat", "dog"), ("cat", "dog", "koala"))
    assert found.shares * 20 == pytest.approx(np.array([[6, 0, 2], [5, 2, 5]]))


def test_hijack_rate_needs_reviews() -> None:
    assert estimate_hijack_rate(0, 0).estimate is None
    assert estimate_hijack_rate(40, 10).estimate == 0.25
    assert estimate_hijack_rate(40, 10).interval == rate(10, 40).interval


class TestLatencyDifference:
    def test_images_without_a_unit_are_independent(self) -> None:
        d = np.random.default_rng(3).lognormal(1, 1, 4000) - 2
        mean, found = estimate_latency_difference(*sums((0, len(d), d.sum(), (d**2).sum())))
        assert mean == pytest.approx(d.mean())
        expected = confidence_sequence(d.mean(), d.var(ddof=1) / len(d), len(d))
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)

    def test_more_images_of_the_same_users_do_not_narrow_the_interval(self) -> None:
        """Each user has one latency difference, on one image or on ten images in two rows."""
        d = np.random.default_rng(4).normal(2, 1, 300)
        single = estimate_latency_difference(*sums(*((n, 1, x, x * x) for n, x in enumerate(d, 1))))
        repeated = estimate_latency_difference(
            *sums(*((n, k, k * x, k * x * x) for n, x in enumerate(d, 1) for k in (3, 7)))
        )
        assert single[0] == pytest.approx(repeated[0])
        assert (single[1].low, single[1].high) == pytest.approx((repeated[1].low, repeated[1].high))

    def test_units_without_a_pair_are_not_counted(self) -> None:
        """Stable failed on all of their images, for example."""
        d = np.random.default_rng(4).normal(2, 1, 300)
        rows = [(n, 1.0, x, x * x) for n, x in enumerate(d.tolist(), 1)]
        untimed = [(n, 0.0, 0.0, 0.0) for n in range(1000, 6000)]
        expected, found = (
            estimate_latency_difference(*sums(*r))[1] for r in (rows, rows + untimed)
        )
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)

    def test_variance_is_that_of_a_clustered_regression(self) -> None:
        """statsmodels' regression on a constant, clustered by user; users differ in latency."""
        rng = np.random.default_rng(5)
        user = rng.integers(1, 60, 900)
        d = rng.normal(user / 20, 1)
        found = estimate_latency_difference(user, np.ones(900), d, d**2)[1]
        fit = OLS(d, np.ones(900)).fit(cov_type="cluster", cov_kwds={"groups": user})
        units = len(np.unique(user))
        expected = confidence_sequence(d.mean(), fit.cov_params()[0, 0], units)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)

    @pytest.mark.parametrize("row", [(0, 0, 0, 0), (0, 1, 3, 9), (0, 4, 8, 16), (7, 4, 8, 20)])
    def test_without_a_variance_nothing_is_known(
        self, row: tuple[int, float, float, float]
    ) -> None:
        assert not estimate_latency_difference(*sums(row))[1].is_known


class TestSummarizeLoad:
    def test_the_peak_minute_decides(self) -> None:
        """All of the other minute was copied; rows of a minute are summed."""
        found = summarize_load(
            load((1, 100, 100, 0, 0), (2, 150, 150, 0, 0), (2, 150, 130, 10, 5), (3, 0, 0, 0, 0))
        )
        assert (found.minutes, found.copies_per_minute) == (2, 190)
        assert (found.peak_at_ms, found.peak_images) == (120_000, 300)
        assert found.peak_copied_share == pytest.approx(280 / 300)
        assert not found.established
        assert found.sentence == (
            "Not established: in the peak minute, of 300 images, 93.3 % were copied; 95 % are"
            " needed to establish that the candidate carries the load."
        )

    @pytest.mark.parametrize(("copied", "is_established"), [(949, False), (950, True)])
    def test_load_is_established_from_95_percent(self, copied: int, is_established: bool) -> None:
        found = summarize_load(load((1, 1000, copied, 1000 - copied, 0)))
        assert found.established is is_established
        assert found.sentence.startswith("Established" if is_established else "Not established")

    def test_a_sample_does_not_establish_the_load(self) -> None:
        assert not summarize_load(load((1, 1000, 100, 0, 0))).established

    def test_without_images_the_load_is_not_established(self) -> None:
        found = summarize_load(load((1, 0, 0, 0, 0)))
        assert not found.established
        assert found.sentence == "Not established: there was no image to copy."


class TestRejectedCounts:
    def test_more_copies_than_answered_images(self) -> None:
        with pytest.raises(ValueError, match="minute 2 has more copies"):
            estimate_agreement(TWO_MINUTES, load((1, 10, 10, 0, 0), (2, 1, 1, 0, 0)), SHARED)
        with pytest.raises(ValueError, match="minute 2 has more copies"):
            estimate_agreement(TWO_MINUTES, load((1, 10, 10, 0, 0)), SHARED)

    def test_more_outcomes_than_answered_images(self) -> None:
        with pytest.raises(ValueError, match="than answered"):
            load((1, 10, 9, 1, 1))

    def test_negative_counts(self) -> None:
        with pytest.raises(ValueError, match="shed is negative"):
            load((1, 10, 1, -1, 1))
        with pytest.raises(ValueError, match="images is negative"):
            copies((1, "", "cat", "cat", -1))
