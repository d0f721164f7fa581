"""True labels and metrics of feedback."""

from __future__ import annotations

import numpy as np
import pytest

from serve_app.evidence.outcome import AssignedUnits, FeedbackRows, Metric, Truth, window_s

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
    assert rows.within_window(window_s("1m")).rating.tolist() == [1]


def test_window_s_parses_units() -> None:
    assert [window_s(w) for w in ("90s", "2m", "1h", "7d")] == [90, 120, 3600, 604_800]


@pytest.mark.parametrize("window", ["", "d", "7", "7w", "-1d", "1.5h"])
def test_invalid_windows_are_rejected(window: str) -> None:
    with pytest.raises(ValueError, match="expected a number and s, m, h or d"):
        window_s(window)


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
