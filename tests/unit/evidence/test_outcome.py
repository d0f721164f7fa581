"""What a word tells of the truth, and of the unit."""

from __future__ import annotations

import numpy as np
import pytest

from serve_app.evidence.outcome import Assigned, FeedbackRows, Metric, Truth, window_s

NAN = float("nan")


def words(*rows: dict[str, object]) -> FeedbackRows:
    """Rows say what differs from a word about a cat that says nothing."""
    silent: dict[str, object] = {
        "unit": 1,
        "answered": "cat",
        "label": "",
        "correct": NAN,
        "complaint": NAN,
        "rating": NAN,
        "delay_s": 0.0,
    }
    full = [silent | row for row in rows]
    columns = {name: np.array([row[name] for row in full]) for name in silent}
    for name in ("correct", "complaint", "rating", "delay_s"):
        columns[name] = columns[name].astype(np.float64)
    return FeedbackRows(**columns)


@pytest.mark.parametrize(
    ("row", "truth"),
    [
        ({"label": "koala"}, Truth.NEW),
        ({"label": "dog"}, Truth.SHARED),
        ({"label": "wombat"}, Truth.SHARED),  # neither version knows it
        ({"label": "dog", "answered": "koala"}, Truth.SHARED),  # hijacked
        ({"correct": 1}, Truth.SHARED),
        ({"correct": 1, "answered": "koala"}, Truth.NEW),
        ({"correct": 1, "complaint": 1, "answered": "koala"}, Truth.NEW),
        ({"complaint": 1}, Truth.UNTOLD),  # a dog, or a koala
        ({"correct": 0}, Truth.UNTOLD),
        ({"complaint": 1, "answered": "koala"}, Truth.SHARED),  # no koala, whatever it is
        ({"correct": 0, "answered": "koala"}, Truth.SHARED),
        ({"rating": 1, "answered": "koala"}, Truth.UNTOLD),  # a low rating denies nothing
        ({"complaint": 0, "answered": "koala"}, Truth.UNTOLD),
    ],
)
def test_the_truth_as_far_as_it_was_told(row: dict[str, object], truth: Truth) -> None:
    assert words(row).truths({"koala"}).tolist() == [truth]


def test_of_several_new_labels_one_that_is_denied_leaves_the_others() -> None:
    denied = words({"complaint": 1, "answered": "koala"})
    assert denied.truths({"koala", "wombat"}).tolist() == [Truth.UNTOLD]


def test_without_new_labels_every_truth_is_shared() -> None:
    said = words({"complaint": 1}, {"label": "koala"}, {"correct": 1})
    assert said.truths(set()).tolist() == [Truth.SHARED] * 3


@pytest.mark.parametrize(
    ("row", "metric", "value"),
    [
        ({"complaint": 1}, "complaint", 1),
        ({"correct": 0}, "complaint", NAN),
        ({"rating": 4}, "rating", 4),
        ({"correct": 0}, "correct", 0),
        ({"label": "cat"}, "correct", 1),
        ({"label": "dog"}, "correct", 0),
        ({"complaint": 1}, "correct", NAN),
    ],
)
def test_what_a_word_says_of_a_metric(row: dict[str, object], metric: Metric, value: float) -> None:
    assert words(row).values(metric).tolist() == pytest.approx([value], nan_ok=True)


def test_words_that_come_too_late_do_not_count() -> None:
    said = words({"delay_s": 60.0, "rating": 1}, {"delay_s": 61.0, "rating": 2})
    assert said.within(window_s("1m")).rating.tolist() == [1]


def test_windows() -> None:
    assert [window_s(w) for w in ("90s", "2m", "1h", "7d")] == [90, 120, 3600, 604_800]


@pytest.mark.parametrize("window", ["", "d", "7", "7w", "-1d", "1.5h"])
def test_a_window_that_is_none_is_rejected(window: str) -> None:
    with pytest.raises(ValueError, match="expected a number and s, m, h or d"):
        window_s(window)


class TestAssigned:
    units = Assigned(np.array([5, 3, 9]), np.zeros(3, np.int64), np.array([True, False, True]))

    def test_each_has_its_row(self) -> None:
        assert self.units.rows(np.array([9, 5, 9, 3])).tolist() == [2, 0, 2, 1]

    @pytest.mark.parametrize("unit", [1, 4, 10])
    def test_a_stranger_is_rejected(self, unit: int) -> None:
        with pytest.raises(ValueError, match="a unit that was not assigned"):
            self.units.rows(np.array([5, unit]))

    def test_a_unit_is_assigned_once(self) -> None:
        with pytest.raises(ValueError, match="assigned twice"):
            Assigned(np.array([1, 1]), np.zeros(2, np.int64), np.array([True, False]))
