"""The outcome of an A/B test: the feedback of its units.

Feedback is not missing at random: users with a complaint give it more often. The outcome is
therefore a share of all *settled* units, such as those with at least one complaint; a settled unit
without feedback has no event. Assignment is random, so this share can be compared. It does not
distinguish fewer failures from less feedback, which is why reports show the coverage next to it and
check the units with feedback for SRM.

If the versions have different labels, events are compared in two groups by their true label: new
labels, which only treatment has, and shared labels. The true label of an event is

- the reported label, or the predicted label if the feedback says that it is correct;
- not the predicted label, if a complaint or "not correct" comes without a label. If the predicted
  label is the only new label, the true label is then shared. This assumes that a complaint without
  a label means that the prediction is wrong;
- otherwise unknown: the image of a complaint about "dog" may show a cat or a koala.

A true label that neither version has, such as a wombat, counts as shared: both must fail.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal

import numpy as np

from serve_app.evidence.comparison import UnitGroups
from serve_app.evidence.units import Flags, Floats, Ints, Rows, Texts, check_columns

Metric = Literal["complaint", "correct", "rating"]

RANGE: dict[Metric, tuple[float, float]] = {
    "complaint": (0, 1),
    "correct": (0, 1),
    "rating": (1, 5),
}


class Truth(IntEnum):
    """The group of an image's true label."""

    UNKNOWN = 0
    SHARED = 1  # not a new label
    NEW = 2  # a label that only treatment has


@dataclass(frozen=True, slots=True)
class HijackRate:
    """The share of predictions of a new label whose true label is a shared one.

    Attributes:
        estimate: 0 to 1; None without predictions.
        predictions: Predictions of a new label whose true label is known from feedback.
    """

    estimate: float | None
    predictions: int


@dataclass(frozen=True, eq=False)
class AssignedUnits:
    """The settled units of a test, at their first assignment.

    Attributes:
        unit: int64 [n], distinct.
        stratum: int64 [n], see `units.strata`.
        treated: bool [n].
        count: float64 [n], how many units the row stands for; above 1 only for units without
            feedback. None for 1 in every row.

    Raises:
        ValueError: The arrays differ in length, or a unit occurs twice.
    """

    unit: Ints
    stratum: Ints
    treated: Flags
    count: Floats | None = None

    def __post_init__(self) -> None:
        check_columns(unit=self.unit, stratum=self.stratum, treated=self.treated)
        in_order = self.unit[self._order]
        if (in_order[1:] == in_order[:-1]).any():
            raise ValueError("a unit occurs twice: expected only its first assignment")

    @cached_property
    def groups(self) -> UnitGroups:
        """The units as groups, for comparisons."""
        count = np.ones(len(self.unit)) if self.count is None else self.count
        return UnitGroups(self.stratum, self.treated, count)

    def find_rows(self, unit: Ints) -> Ints:
        """[m]: the row of each given unit.

        Raises:
            ValueError: A unit was not assigned.
        """
        in_order = self.unit[self._order]
        place = np.searchsorted(in_order, unit)
        is_inside = place < len(in_order)
        if not is_inside.all() or (in_order[place] != unit).any():
            raise ValueError("there is feedback of a unit that was not assigned")
        return np.asarray(self._order[place], np.int64)

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.unit)


@dataclass(frozen=True, slots=True, eq=False)
class FeedbackRows(Rows):
    """The latest feedback on each prediction with feedback; missing values are nan or "".

    Attributes:
        unit: int64 [n].
        predicted_label: str [n].
        reported_label: str [n], what the image shows according to the feedback.
        correct, complaint: float64 [n], 1 or 0.
        rating: float64 [n], 1 to 5.
        delay_s: float64 [n], from the prediction to the feedback.
    """

    unit: Ints
    predicted_label: Texts
    reported_label: Texts
    correct: Floats
    complaint: Floats
    rating: Floats
    delay_s: Floats

    def __post_init__(self) -> None:
        check_columns(
            unit=self.unit,
            predicted_label=self.predicted_label,
            reported_label=self.reported_label,
            correct=self.correct,
            complaint=self.complaint,
            rating=self.rating,
            delay_s=self.delay_s,
        )

    def within_window(self, seconds: float) -> FeedbackRows:
        """The rows with a delay of at most `seconds`."""
        return self.select(self.delay_s <= seconds)

    def for_units(self, units: Ints) -> FeedbackRows:
        """The rows of some units."""
        return self.select(np.isin(self.unit, units))

    def values(self, metric: Metric) -> Floats:
        """[n]: the value of a metric, nan where it is missing.

        Where `correct` is missing, it follows from the reported label.
        """
        if metric != "correct":
            return self.complaint if metric == "complaint" else self.rating
        is_match = self.reported_label == self.predicted_label
        by_label = np.where(self.reported_label == "", np.nan, is_match)
        return np.where(np.isnan(self.correct), by_label, self.correct)

    def truths(self, new: Collection[str]) -> Ints:
        """[n] of `Truth`, by the rules of this module.

        Args:
            new: The labels that only treatment has. Without any, all are `SHARED`.
        """
        correct = self.values("correct")
        is_confirmed = (self.reported_label == "") & (correct == 1)
        true_label = np.where(is_confirmed, self.predicted_label, self.reported_label)
        truth = np.where(np.isin(true_label, list(new)), Truth.NEW, Truth.SHARED)
        is_denied = (correct == 0) | (np.isnan(correct) & (self.complaint == 1))
        is_not_new = is_denied & np.isin(self.predicted_label, list(new)) & (len(new) == 1)
        is_unknown = (true_label == "") & ~is_not_new & (len(new) > 0)
        return np.where(is_unknown, Truth.UNKNOWN, truth)


def hijack_rate(
    feedback: FeedbackRows, shared: Collection[str], new: Collection[str]
) -> HijackRate:
    """The hijack rate of the predictions with feedback.

    Only predictions whose truth is known from feedback count. If there is a single new label,
    `correct: false` without a label means that the truth is a shared label.

    There is no interval: units give feedback on several predictions, and complaints are
    over-represented.

    Args:
        feedback: On the predictions of one version.
    """
    truth = feedback.reported_label
    is_unlabelled = truth == ""
    is_denied = is_unlabelled & (feedback.correct == 0) & (len(new) == 1)
    is_known = np.isin(truth, [*shared, *new]) | is_unlabelled & (feedback.correct == 1) | is_denied
    is_known &= np.isin(feedback.predicted_label, list(new))
    is_hijacked = is_known & (is_denied | np.isin(truth, list(shared)))
    count = int(is_known.sum())
    return HijackRate(int(is_hijacked.sum()) / count if count else None, count)
