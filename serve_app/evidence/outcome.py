"""What feedback tells of the units of an A/B test.

Feedback is not missing at random: who is annoyed speaks. So the outcome is a share of the units
that were *assigned*, whether they spoke or not: those with at least one complaint, say. That is
randomised, silence included. What it cannot tell apart is fewer failures from fewer words; hence
coverage is shown beside it, and asked for SRM.

Versions that do not know the same labels are compared in two lines, by the truth: images of
labels that are new with treatment, and all others. The truth of an event is

- the label that was told, or the answer, if that was said to be correct;
- not the answer, if a complaint or "not correct" came without a label. Where the answer is the only
  new label, the truth is then no new one: treatment saw a koala where there was none. This takes a
  bare complaint for the claim that the answer is wrong;
- else not told: who complains about "dog" may have shown a cat or a koala.

A truth that neither version knows, such as a wombat, counts as shared: both must fail.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal

import numpy as np

from serve_app.evidence.means import Groups
from serve_app.evidence.units import Flags, Floats, Ints, Labels, check_columns

Metric = Literal["complaint", "correct", "rating"]

RANGE: dict[Metric, tuple[float, float]] = {
    "complaint": (0, 1),
    "correct": (0, 1),
    "rating": (1, 5),
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Truth(IntEnum):
    """What the image of an answer shows, as far as it was told."""

    UNTOLD = 0
    SHARED = 1  # no new label
    NEW = 2  # a label that only treatment knows


@dataclass(frozen=True, eq=False)
class Assigned:
    """The units of the test, at their first assignment.

    Attributes:
        unit: int64 [n], each once.
        stratum: int64 [n], see `units.strata`.
        treated: bool [n].
        count: float64 [n], how many units the row stands for; 1 unless none of them spoke. None if
            every row is one.
    """

    unit: Ints
    stratum: Ints
    treated: Flags
    count: Floats | None = None

    def __post_init__(self) -> None:
        check_columns(unit=self.unit, stratum=self.stratum, treated=self.treated)
        in_order = self.unit[self._order]
        if (in_order[1:] == in_order[:-1]).any():
            raise ValueError("a unit was assigned twice: give its first assignment alone")

    @cached_property
    def groups(self) -> Groups:
        """For comparisons."""
        count = np.ones(len(self.unit)) if self.count is None else self.count
        return Groups(self.stratum, self.treated, count)

    def rows(self, unit: Ints) -> Ints:
        """[m]: the row of each of some units.

        Raises:
            ValueError: One was not assigned.
        """
        in_order = self.unit[self._order]
        place = np.searchsorted(in_order, unit)
        inside = place < len(in_order)
        if not inside.all() or (in_order[place] != unit).any():
            raise ValueError("there is a word of a unit that was not assigned")
        return np.asarray(self._order[place], np.int64)

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.unit)


@dataclass(frozen=True, slots=True, eq=False)
class FeedbackRows:
    """The last word on each answer that has one; what it leaves out is nan, or an empty label.

    Attributes:
        unit: int64 [n].
        answered: str [n], the answer's label.
        label: str [n], what the image shows.
        correct, complaint: float64 [n], 1 or 0.
        rating: float64 [n], 1 to 5.
        delay_s: float64 [n], from the answer to the word.
    """

    unit: Ints
    answered: Labels
    label: Labels
    correct: Floats
    complaint: Floats
    rating: Floats
    delay_s: Floats

    def __post_init__(self) -> None:
        check_columns(
            unit=self.unit,
            answered=self.answered,
            label=self.label,
            correct=self.correct,
            complaint=self.complaint,
            rating=self.rating,
            delay_s=self.delay_s,
        )

    def within(self, seconds: float) -> FeedbackRows:
        """Those that came in time."""
        return self.only(self.delay_s <= seconds)

    def of(self, units: Ints) -> FeedbackRows:
        """Those of some units."""
        return self.only(np.isin(self.unit, units))

    def only(self, rows: Flags) -> FeedbackRows:
        """Those of some rows."""
        return FeedbackRows(
            self.unit[rows],
            self.answered[rows],
            self.label[rows],
            self.correct[rows],
            self.complaint[rows],
            self.rating[rows],
            self.delay_s[rows],
        )

    def values(self, metric: Metric) -> Floats:
        """[n]: what the words say of a metric; a label says whether the answer is correct."""
        if metric != "correct":
            return self.complaint if metric == "complaint" else self.rating
        by_label = np.where(self.label == "", np.nan, self.label == self.answered)
        return np.where(np.isnan(self.correct), by_label, self.correct)

    def truths(self, new: Collection[str]) -> Ints:
        """[n] of `Truth`, by the rules above; `new` are the labels that only treatment knows."""
        correct = self.values("correct")
        told = np.where((self.label == "") & (correct == 1), self.answered, self.label)
        truth = np.where(np.isin(told, list(new)), Truth.NEW, Truth.SHARED)
        denied = (correct == 0) | (np.isnan(correct) & (self.complaint == 1))
        excluded = denied & np.isin(self.answered, list(new)) & (len(new) == 1)
        return np.where((told == "") & ~excluded & (len(new) > 0), Truth.UNTOLD, truth)


def window_s(window: str) -> int:
    """The seconds of a rule's window, such as 7d.

    Raises:
        ValueError: It is not a number and one of s, m, h, d.
    """
    number, unit = window[:-1], window[-1:]
    if not number.isdecimal() or unit not in _SECONDS:
        raise ValueError(f"window is {window!r}: expected a number and s, m, h or d")
    return int(number) * _SECONDS[unit]
