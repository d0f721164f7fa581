"""What reviews add to the report on a shadow."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from serve_app.cli.report import reviews as text
from serve_app.clock import MINUTE_MS
from serve_app.evidence.confidence import proportion_sequence
from serve_app.evidence.paired import paired
from serve_app.recording.batch import Batch
from serve_app.reports import shadow
from serve_app.store.store import Store
from tests.unit.recording.fakes import kept
from tests.unit.reports.conftest import DAY, SHADOW, START_MS, Diary, as_json, hours, labels

# (live label, candidate's label, what the image shows) -> how often
SAID = {
    ("dog", "koala", "koala"): 6,
    ("dog", "koala", "dog"): 2,
    ("cat", "dog", "other"): 1,
    ("cat", "koala", "cannot_tell"): 3,
    ("cat", "cat", "cat"): 4,
    ("dog", "dog", "cat"): 1,
    ("cat", "koala", None): 2,
}


class Album:
    """Images of a shadow, and what is said of them."""

    def __init__(self, diary: Diary) -> None:
        self._rule = diary.obeys(SHADOW)
        self.store: Store = diary.store()
        self._sequence = 0

    def keep(self, live_label: str, label: str, truth: str | None, **changes: Any) -> None:
        self._sequence += 1
        facts: dict[str, Any] = {
            "at_ms": START_MS + MINUTE_MS,
            "rule_id": self._rule.rule_id,
            "digest": f"{self._sequence:064x}",
            "live_label": live_label,
            "label": label,
            "room": 1000,
            "probability": 1.0,
        }
        image = kept(self._sequence, **facts | changes)
        self.store.record(Batch(image.writer, kept=(image,)))
        if truth:
            self.store.add_review(image.digest, truth, "ada", "", at_ms=START_MS)

    def report(self, **where: Any) -> dict[str, Any]:
        """The section."""
        period = hours(0, 24, **where) if where else DAY
        section: dict[str, Any] = as_json(shadow.report(self.store, period, labels))["reviews"]
        return section


@pytest.fixture
def album(diary: Diary) -> Album:
    return Album(diary)


def filled(album: Album) -> Album:
    for said, times in SAID.items():
        for _ in range(times):
            album.keep(*said)
    return album


def printed(album: Album) -> list[str]:
    out = io.StringIO()
    report = shadow.report(album.store, DAY, labels)
    text.show(Console(file=out, width=200, highlight=False), report)
    return out.getvalue().strip().splitlines()


def test_a_report_tells_who_was_right(album: Album) -> None:
    found = filled(album).report()
    assert (found["reviewed"], found["waiting"]) == (17, 2)
    test = paired(2, 6)
    assert found["disagreements"] == {
        "only_stable": 2,
        "only_candidate": 6,
        "both_wrong": 1,
        "cannot_tell": 3,
        "left_out": 0,
        "probability": 1.0,
        "candidate_right": {
            "estimate": 0.75,
            "interval": [test.share.interval.low, test.share.interval.high],
        },
        "p": test.p,
        "better": None,
    }
    assert found["hijack_rate"]["estimate"] == 0.25
    assert found["hijack_rate"]["reviewed"] == 8
    wrong = proportion_sequence(1, 5)
    assert found["agreements"]["both_wrong"] == {
        "estimate": 0.2,
        "interval": [wrong.low, wrong.high],
        "reviewed": 5,
    }


def test_without_reviews_nothing_is_known(album: Album) -> None:
    album.keep("dog", "koala", None)
    found = album.report()
    assert (found["reviewed"], found["waiting"]) == (0, 1)
    for key in ("candidate_right", "p", "better", "probability"):
        assert found["disagreements"][key] is None
    assert found["hijack_rate"]["estimate"] is None
    assert found["agreements"]["both_wrong"]["estimate"] is None
    assert printed(album) == [
        "reviews: 0 images, 1 wait; which version is right is not known",
    ]


def test_images_of_other_versions_are_not_looked_at(album: Album) -> None:
    album.keep("dog", "koala", "dog", candidate="v3")
    album.keep("dog", "koala", "dog", stable="v3")
    assert album.report()["reviewed"] == 0


def test_only_images_of_the_period_and_the_region_count(album: Album) -> None:
    album.keep("dog", "koala", "koala", region="AU")
    album.keep("dog", "koala", "koala", region="DE")
    album.keep("dog", "koala", "koala", at_ms=DAY.until_ms, region="AU")
    assert album.report()["reviewed"] == 2
    australia = {"region": "AU", "countries": frozenset({"AU"})}
    assert album.report(**australia)["reviewed"] == 1


def test_better_takes_evidence(album: Album) -> None:
    for _ in range(10):
        album.keep("dog", "koala", "koala")
    assert album.report()["disagreements"]["better"] == "candidate"
    assert "v2: 100.0 % (" in printed(album)[2]
    assert "), v2 is better (p 0.011, always valid)" in printed(album)[2]


def test_for_the_eye_it_is_said_in_words(album: Album) -> None:
    head, differing, test, hijacks, agreeing = printed(filled(album))
    assert head == "reviews: 17 images, 2 wait"
    assert differing == (
        "where they disagree: 2 only v1 right, 6 only v2, 1 neither, 3 cannot be told"
    )
    assert test.startswith("of those on which one was right, v2: 75.0 % (")
    assert "), no difference is shown (p " in test
    assert hijacks.startswith("hijack rate, cat or dog shown where v2 says koala: 25.0 % (")
    assert agreeing.startswith("where they agree, both wrong: 20.0 % (")


def test_what_was_drawn_otherwise_is_named(album: Album) -> None:
    for probability in (1.0, 1.0, 0.5):
        album.keep("dog", "koala", "dog", probability=probability)
    assert album.report()["disagreements"]["left_out"] == 1
    assert "1 drawn otherwise left out" in printed(album)[1]
