"""True labels and metrics of feedback."""

from __future__ import annotations

import numpy as np
import pytest

from serve_app.evidence.outcome import (
    AssignedUnits,
    FeedbackRows,
    HijackRate,
    Metric,
    Truth,
    hijack_rate,
)

NAN = float("nan")


def feedback(*rows: dict[str, object]) -> FeedbackRows:
    """Feedback on predictions of a cat; a row has the values that are not missing."""
    missing: dict[str, object] = {
        "unit": 1,
        "predicted_label": "cat",
        "reported_label": "",
        "correct": NAN,
        "complaint": NAN,
        "rating": NAN,
        "delay_s": 0.0,
    }
    full = [missing | row for row in rows]
    columns = {name: np.array([row[name] for row in full]) for name in missing}
    for name in ("correct", "complaint", "rating", "delay_s"):
        columns[name] = columns[name].astype(np.float64)
    return FeedbackRows(**columns)


@pytest.mark.parametrize(
    ("row", "truth"),
    [
        ({"reported_label": "koala"}, Truth.NEW),
        ({"reported_label": "dog"}, Truth.SHARED),
        ({"reported_label": "wombat"}, Truth.SHARED),  # neither version has it
        ({"reported_label": "dog", "predicted_label": "koala"}, Truth.SHARED),  # hijacked
        ({"correct": 1}, Truth.SHARED),
        ({"correct": 1, "predicted_label": "koala"}, Truth.NEW),
        ({"correct": 1, "complaint": 1, "predicted_label": "koala"}, Truth.NEW),
        ({"complaint": 1}, Truth.UNKNOWN),  # a dog or a koala
        ({"correct": 0}, Truth.UNKNOWN),
        ({"complaint": 1, "predicted_label": "koala"}, Truth.SHARED),  # not a koala
        ({"correct": 0, "predicted_label": "koala"}, Truth.SHARED),
        ({"rating": 1, "predicted_label": "koala"}, Truth.UNKNOWN),  # a low rating is no denial
        ({"complaint": 0, "predicted_label": "koala"}, Truth.UNKNOWN),
    ],
)
def test_truth_of_one_feedback(row: dict[str, object], truth: Truth) -> None:
    assert feedback(row).truths({"koala"}).tolist() == [truth]


def test_truth_of_a_denied_label_is_unknown_with_several_new_labels() -> None:
    denied = feedback({"complaint": 1, "predicted_label": "koala"})
    assert denied.truths({"koala", "wombat"}).tolist() == [Truth.UNKNOWN]


def test_without_new_labels_every_truth_is_shared() -> None:
    rows = feedback({"complaint": 1}, {"reported_label": "koala"}, {"correct": 1})
    assert rows.truths(set()).tolist() == [Truth.SHARED] * 3


@pytest.mark.parametrize(
    ("row", "metric", "value"),
    [
        ({"complaint": 1}, "complaint", 1),
        ({"correct": 0}, "complaint", NAN),
        ({"rating": 4}, "rating", 4),
        ({"correct": 0}, "correct", 0),
        ({"reported_label": "cat"}, "correct", 1),
        ({"reported_label": "dog"}, "correct", 0),
        ({"complaint": 1}, "correct", NAN),
    ],
)
def test_value_of_a_metric(row: dict[str, object], metric: Metric, value: float) -> None:
    assert feedback(row).values(metric).tolist() == pytest.approx([value], nan_ok=True)


def test_feedback_after_the_window_is_not_selected() -> None:
    rows = feedback({"delay_s": 60.0, "rating": 1}, {"delay_s": 61.0, "rating": 2})
    assert rows.within_window(60).rating.tolist() == [1]


class TestAssignedUnits:
    units = AssignedUnits(np.array([5, 3, 9]), np.zeros(3, np.int64), np.array([True, False, True]))

    def test_find_rows_returns_the_row_of_each_unit(self) -> None:
        assert self.units.find_rows(np.array([9, 5, 9, 3])).tolist() == [2, 0, 2, 1]

    @pytest.mark.parametrize("unit", [1, 4, 10])
    def test_unassigned_units_are_rejected(self, unit: int) -> None:
        with pytest.raises(ValueError, match="a unit that was not assigned"):
            self.units.find_rows(np.array([5, unit]))

    def test_duplicate_units_are_rejected(self) -> None:
        with pytest.raises(ValueError, match="occurs twice"):
            AssignedUnits(np.array([1, 1]), np.zeros(2, np.int64), np.array([True, False]))


KOALA: dict[str, object] = {"predicted_label": "koala"}


@pytest.mark.parametrize(
    ("row", "hijacked"),
    [
        (KOALA | {"reported_label": "dog"}, True),
        (KOALA | {"reported_label": "koala"}, False),
        (KOALA | {"correct": 1}, False),
        (KOALA | {"correct": 0}, True),  # koala is the only new label
        (KOALA | {"correct": 0, "reported_label": "wombat"}, None),  # neither version knows it
        (KOALA | {"complaint": 1}, None),  # no truth is known
        (KOALA | {"complaint": 0}, None),
        ({"reported_label": "koala"}, None),  # predicted as a cat
    ],
)
def test_hijack_rate_of_one_feedback(row: dict[str, object], hijacked: bool | None) -> None:
    found = hijack_rate(feedback(row), ["cat", "dog"], ["koala"])
    expected = HijackRate(None, 0) if hijacked is None else HijackRate(float(hijacked), 1)
    assert found == expected


def test_a_denied_label_is_not_hijacked_with_several_new_labels() -> None:
    denied = feedback(KOALA | {"correct": 0}, KOALA | {"reported_label": "cat"})
    assert hijack_rate(denied, ["cat"], ["koala", "wombat"]) == HijackRate(1.0, 1)
