"""Copied images of a shadow, weighted to stand for all images that stable answered.

Not every image is copied: a rule may sample, and copies are shed under load. Each image whose copy
was tried is weighted by the inverse of the tried share of its cell (Horvitz, Thompson, JASA 1952,
with the inclusion probability estimated from counts), and rates are divided by the sum of weights
(Hajek estimator):

    rate = sum_i w_i y_i / sum_i w_i,  w_i = answered images / tried images in the cell of i

A cell is a minute if all of its images are to be copied; with a sample, it is several consecutive
minutes with the same sample, merged until `MIN_EXPECTED` copies are expected. Most quiet minutes of
a sample have no copy; without the merging, they would have no weight, and the rates would be those
of the busy ones. The merging depends on the images that stable answered and on the sample, not on
which of them were drawn.

Assumes that copies are a random sample within a cell. A cell without a copy has no weight.

The variance of a rate depends on the weights and on the correlation of images within units. Both
are design effects, and multiply (Gabler, Haeder, Lahiri, Survey Methodology 1999).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serve_app.evidence.confidence import Rate, weighted_rate
from serve_app.evidence.units import (
    Flags,
    Floats,
    Ints,
    Rows,
    Texts,
    check_columns,
    sum_by_code,
)

MIN_EXPECTED = 20.0  # copies in a cell
_SAME_SAMPLE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Copies(Rows):
    """Images whose copy was tried: counts by minute, region and pair of labels.

    Attributes:
        minute: int64 [n], minutes since 1970 UTC.
        region: str [n], ISO 3166-1 alpha-2; empty if unknown.
        stable, candidate: str [n], the predicted labels; empty for a version that failed.
        images: float64 [n], 0 or more; rows of the same are summed.

    Raises:
        ValueError: The columns differ in length, or a count is negative or not finite.
    """

    minute: Ints
    region: Texts
    stable: Texts
    candidate: Texts
    images: Floats

    def __post_init__(self) -> None:
        check_columns(
            minute=self.minute,
            region=self.region,
            stable=self.stable,
            candidate=self.candidate,
            images=self.images,
        )
        check_counts(images=self.images)


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """All images that stable answered, by outcome of the copy; rows of the same minute are summed.

    Attributes:
        minute: int64 [n], minutes since 1970 UTC.
        answered: float64 [n], images that stable answered, in the sample or not.
        copied, shed, failed: float64 [n], of these.
        expected: float64 [n], the copies that the sample of the rule promises.

    Raises:
        ValueError: The columns differ in length, or counts are negative, not finite or contradict.
    """

    minute: Ints
    answered: Floats
    copied: Floats
    shed: Floats
    failed: Floats
    expected: Floats

    def __post_init__(self) -> None:
        counts = {
            "answered": self.answered,
            "copied": self.copied,
            "shed": self.shed,
            "failed": self.failed,
            "expected": self.expected,
        }
        check_columns(minute=self.minute, **counts)
        check_counts(**counts)
        if (self.copied + self.shed + self.failed > self.answered).any():
            raise ValueError("more images were copied, shed or failed than answered in some row")


@dataclass(frozen=True, slots=True)
class WeightedRate:
    """A weighted share of images.

    Attributes:
        images: The images in the denominator, unweighted.
        rate: Successes and trials are those of an unweighted sample with the same variance.
    """

    images: float
    rate: Rate


@dataclass(frozen=True, slots=True, eq=False)
class WeightedCopies:
    """Images whose copy was tried, with weights.

    Attributes:
        images: float64 [n].
        weight: float64 [n], of each image of a row.
        covered_share: The share of the answered images that are in cells with a copy, 0 to 1; 1
            without images.
    """

    images: Floats
    weight: Floats
    covered_share: float

    def estimate_share(
        self, successes: Flags, trials: Flags, design_effect: float, alpha: float
    ) -> WeightedRate:
        """The weighted share of successes in some rows; see `confidence.weighted_rate`."""
        images = self.images[trials]
        return WeightedRate(
            float(images.sum()),
            weighted_rate(images, self.weight[trials], successes[trials], design_effect, alpha),
        )


def weight_copies(copies: Copies, load: Load) -> WeightedCopies:
    """Weight each image whose copy was tried by answered / tried images of its cell.

    Raises:
        ValueError: A minute has more copies than answered images.
    """
    minutes, row = np.unique(np.concatenate([load.minute, copies.minute]), return_inverse=True)
    load_row, copies_row = row[: len(load.minute)], row[len(load.minute) :]
    answered, expected = (
        sum_by_code(load_row, counts, len(minutes)) for counts in (load.answered, load.expected)
    )
    tried = sum_by_code(copies_row, copies.images, len(minutes))
    if (tried > answered).any():
        worst = int(minutes[(tried - answered).argmax()])
        raise ValueError(f"minute {worst} has more copies than images that stable answered")
    cell = _cells(answered, expected)
    count = int(cell.max(initial=-1)) + 1
    cell_answered, cell_tried = (sum_by_code(cell, n, count) for n in (answered, tried))
    is_seen = cell_tried > 0
    weight = np.divide(cell_answered, cell_tried, out=np.zeros(count), where=is_seen)
    total = float(answered.sum())
    covered_share = float(cell_answered[is_seen].sum()) / total if total else 1.0
    return WeightedCopies(copies.images, weight[cell[copies_row]], covered_share)


def check_counts(**columns: Floats) -> None:
    """Check that all counts are finite and not negative.

    Raises:
        ValueError: One is not.
    """
    for name, column in columns.items():
        if not (np.isfinite(column).all() and (column >= 0).all()):
            raise ValueError(f"{name} is negative or not finite in some row")


def _cells(answered: Floats, expected: Floats) -> Ints:
    """[minutes]: the number of each minute's cell, ascending from 0.

    A minute without answered images belongs to the cell before it. If the last minutes with a
    sample expect too few copies, they join the cell before them, if it has the same sample.
    """
    sample = np.divide(expected, answered, out=np.full(len(answered), -1.0), where=answered > 0)
    starts: list[tuple[int, float]] = []  # of the cells: minute and sample
    in_cell = 0.0  # expected copies

    def close() -> None:
        """Let the last cell join the one before, if it is too small."""
        is_small = in_cell < MIN_EXPECTED and len(starts) > 1
        if is_small and _is_sampled(starts[-1][1]) and _is_same(starts[-2][1], starts[-1][1]):
            starts.pop()

    for minute in np.flatnonzero(answered > 0).tolist():
        share = float(sample[minute])
        is_other = not starts or not _is_same(share, starts[-1][1])
        if is_other or in_cell >= MIN_EXPECTED or not _is_sampled(share):
            if is_other:
                close()
            starts.append((minute, share))
            in_cell = 0.0
        in_cell += float(expected[minute])
    close()
    is_start = np.zeros(len(answered), np.int64)
    is_start[[minute for minute, _ in starts[1:]]] = 1
    return np.cumsum(is_start)


def _is_sampled(share: float) -> bool:
    """Whether a minute may have no copy by chance."""
    return share < 1 - _SAME_SAMPLE


def _is_same(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME_SAMPLE
