from __future__ import annotations

from itertools import count as count_from
from typing import Any

import pytest

from serve_app.clock import HOUR_MS, MINUTE_MS
from serve_app.errors import NothingToReport
from serve_app.reports import shadow
from serve_app.reports.period import Period
from tests.unit.reports.conftest import (
    CANARY,
    DAY,
    SHADOW,
    START_MS,
    Diary,
    as_json,
    hours,
    labels,
)

SESSIONS = count_from(1)


def report(diary: Diary, period: Period = DAY) -> dict[str, Any]:
    return as_json(shadow.report(diary.store(), period, labels))


def copies(
    diary: Diary, stable: str, candidate: str | None, count: int = 1, minute: int = 1, **live: Any
) -> None:
    """Images of which both versions said something, each of a session of its own."""
    for _ in range(count):
        facts = {
            "session": 2 * f"{next(SESSIONS):016x}",
            "label": stable,
            "reason": "static",
        } | live
        diary.copies(diary.answers("v1", None, minute, **facts), candidate)


def shed(diary: Diary, count: int, minute: int = 1, error: str = "full", **live: Any) -> None:
    """Images of which the candidate was not asked."""
    for _ in range(count):
        answer = diary.answers("v1", 1, minute, reason="static", **live)
        diary.copies(answer, None, outcome="shed", error=error, latency_ms=None)


def test_agreement_is_asked_of_shared_labels(diary: Diary) -> None:
    """Of 8 images v2 calls 3 a koala; of the others, 4 of 5 what v1 called them."""
    diary.obeys(SHADOW)
    copies(diary, "cat", "cat", 3)
    copies(diary, "dog", "dog", 1)
    copies(diary, "dog", "cat", 1)
    copies(diary, "dog", "koala", 3)
    found = report(diary)
    assert found["agreement"]["estimate"] == pytest.approx(0.8)
    assert found["agreement"]["images"] == 5
    assert found["new_labels"]["rate"]["estimate"] == pytest.approx(3 / 8)
    assert found["transitions"] == {
        "stable": ["cat", "dog"],
        "candidate": ["cat", "dog", "koala"],
        "shares": [[3 / 8, 0, 0], [1 / 8, 1 / 8, 3 / 8]],
    }
    assert found["labels"] == {"shared": ["cat", "dog"], "new": ["koala"]}


def test_pinned_requests_are_no_load_of_the_candidate(diary: Diary) -> None:
    """They are not copied, and say nothing of those that are."""
    diary.obeys(SHADOW)
    copies(diary, "cat", "cat", 8)
    for _ in range(2):
        diary.answers("v2", 1, reason="pinned")
    assert report(diary)["load"]["peak_copied"] == 1


def test_a_minute_in_which_few_were_copied_counts_as_much(diary: Diary) -> None:
    """Of 10 cats in one minute all were copied, of 10 koalas in the next one 2: half of the
    images are koalas, not 2 of 12."""
    diary.obeys(SHADOW)
    copies(diary, "cat", "cat", 10, minute=1)
    copies(diary, "dog", "koala", 2, minute=2)
    shed(diary, 5, minute=2)
    copies(diary, "dog", None, 3, minute=2)
    found = report(diary)
    assert found["new_labels"]["rate"]["estimate"] == pytest.approx(0.5)
    assert found["new_labels"]["rate"]["images"] == 12
    assert found["outcomes"] == {"copied": 12, "failed": 3, "shed": 5}
    assert found["errors"] == {"full": 5, "too_slow": 3}
    assert found["load"]["minutes"] == 2
    assert found["load"]["copies_per_minute"] == 6
    assert found["load"]["peak_at_ms"] == START_MS + MINUTE_MS
    assert (found["load"]["peak_copied"], found["load"]["established"]) == (1, True)


def test_a_sample_is_not_all_that_was_answered(diary: Diary) -> None:
    """What the rule left out has no pair, and still was answered."""
    diary.obeys(SHADOW, sample=0.5)
    copies(diary, "cat", "cat", 2)
    for _ in range(2):
        diary.answers("v1", 1, reason="static")
    found = report(diary)
    assert (found["load"]["peak_answered"], found["load"]["peak_copied"]) == (4, 0.5)
    assert found["load"]["established"] is False
    assert found["epochs"][0]["sample"] == 0.5


def test_where_and_when_it_says_koala(diary: Diary) -> None:
    diary.obeys(SHADOW)
    copies(diary, "dog", "koala", 3, minute=61, region="AU")
    copies(diary, "dog", "dog", 1, minute=61, region="AU")
    copies(diary, "cat", "cat", 4, minute=121, region=None)
    new = report(diary)["new_labels"]
    assert [(r["region"], r["estimate"], r["images"]) for r in new["by_region"]] == [
        (None, 0, 4),
        ("AU", pytest.approx(0.75), 4),
    ]
    assert [(h["at_ms"], h["estimate"]) for h in new["by_hour"]] == [
        (START_MS + HOUR_MS, pytest.approx(0.75)),
        (START_MS + 2 * HOUR_MS, 0),
    ]


def test_model_times_are_of_the_same_images(diary: Diary) -> None:
    """v1 takes 4 and 8 ms, v2 6 ms for both: 0 more in the mean. What failed is in no pair."""
    diary.obeys(SHADOW)
    for _ in range(5):
        copies(diary, "cat", "cat", model_ms=4.0)
        copies(diary, "cat", "cat", model_ms=8.0)
    copies(diary, "cat", None, model_ms=500.0)
    found = report(diary)
    model = found["model_ms"]
    assert (model["stable"], model["candidate"], model["difference"]) == (6, 6, 0)
    assert model["pairs"] == 10
    assert model["interval"][0] == -model["interval"][1] < 0
    assert found["latency_ms"] == {"candidate": 30, "stable": 10}


def test_images_of_one_unit_tell_less(diary: Diary) -> None:
    """In Australia eighty units sent an image each; in New Zealand one sent eighty; in Fiji nobody
    said who it was."""
    diary.obeys(SHADOW)
    for region, who in (("AU", {}), ("NZ", {"session": "a" * 32}), ("FJ", {"session": None})):
        for stable, candidate in (("dog", "koala"), ("cat", "cat")):
            copies(diary, stable, candidate, 40, region=region, **who)
    found = report(diary)
    rates = {r["region"]: r for r in found["new_labels"]["by_region"]}
    assert all(r["estimate"] == pytest.approx(0.5) for r in rates.values())
    width = {region: r["interval"][1] - r["interval"][0] for region, r in rates.items()}
    assert width["NZ"] > 1.5 * width["AU"]
    assert width["FJ"] == pytest.approx(width["AU"])
    assert found["images_per_unit"] == pytest.approx((80 * 80 + 160) / 240)


def test_where_stable_failed_nobody_disagrees(diary: Diary) -> None:
    diary.obeys(SHADOW)
    copies(diary, "cat", "cat", 3)
    failed = diary.answers(
        "v1", 1, reason="static", served=None, label=None, error="internal", model_ms=None
    )
    diary.copies(failed, "cat")
    found = report(diary)
    assert found["agreement"]["estimate"] == pytest.approx(1)
    assert found["agreement"]["images"] == 3
    assert found["transitions"]["stable"] == ["", "cat"]


def test_a_region_has_its_own_copies(diary: Diary) -> None:
    diary.obeys(SHADOW)
    copies(diary, "dog", "koala", 2, region="AU")
    copies(diary, "dog", "dog", 2, region="DE")
    shed(diary, 2, region="DE")
    found = report(diary, hours(0, 24, region="AU", countries=frozenset({"AU"})))
    assert found["new_labels"]["rate"]["estimate"] == pytest.approx(1)
    assert found["outcomes"] == {"copied": 2, "failed": 0, "shed": 0}
    assert found["load"]["peak_answered"] == 2


def test_it_is_about_the_newest_candidate(diary: Diary) -> None:
    diary.obeys(SHADOW, candidate="v3")
    copies(diary, "dog", "dog", 5)
    diary.obeys(SHADOW, minute=60, stable="v3")
    copies(diary, "dog", "dog", 4, minute=61)
    diary.obeys(SHADOW, minute=120)
    copies(diary, "dog", "koala", 3, minute=121)
    diary.obeys(SHADOW, minute=180, sample=0.5)
    copies(diary, "dog", "koala", 2, minute=181)
    found = report(diary)
    assert (found["stable"], found["candidate"]) == ("v1", "v2")
    assert [epoch["epoch"] for epoch in found["epochs"]] == [3, 4]
    assert found["outcomes"]["copied"] == 5


def test_an_exposure_may_be_lost(diary: Diary) -> None:
    """A pair tells of its answer, too."""
    diary.obeys(SHADOW)
    copies(diary, "cat", "cat", 2)
    diary._exposures.pop()
    assert report(diary)["load"]["peak_answered"] == 2


class TestDrift:
    def test_labels_that_are_others_later_have_drifted(self, diary: Diary) -> None:
        diary.obeys(SHADOW)
        copies(diary, "cat", "cat", 50, minute=1)
        copies(diary, "cat", "dog", 50, minute=2)
        found = report(diary)["drift"]
        assert found["stable"]["drift"] is False
        assert found["candidate"]["drift"] is True
        assert found["candidate"]["divergence_bits"] == pytest.approx(1)

    def test_labels_of_one_minute_have_not(self, diary: Diary) -> None:
        """They come in the order of their names, and no half of them is later."""
        diary.obeys(SHADOW)
        copies(diary, "cat", "cat", 50)
        copies(diary, "dog", "dog", 50)
        for found in report(diary)["drift"].values():
            assert found == {"divergence_bits": None, "noise_bits": None, "drift": None}

    def test_the_minute_in_the_middle_is_not_torn_apart(self, diary: Diary) -> None:
        diary.obeys(SHADOW)
        for minute, count in ((1, 10), (2, 60), (3, 10)):
            copies(diary, "cat", "cat", count, minute=minute)
            copies(diary, "dog", "dog", count, minute=minute)
        assert report(diary)["drift"]["candidate"]["divergence_bits"] == pytest.approx(0, abs=1e-12)


def test_nothing_was_copied(diary: Diary) -> None:
    diary.obeys(SHADOW)
    found = report(diary)
    assert found["agreement"]["estimate"] is found["new_labels"]["rate"]["estimate"] is None
    assert found["new_labels"]["by_region"] == found["new_labels"]["by_hour"] == []
    assert found["model_ms"]["difference"] is found["latency_ms"]["candidate"] is None
    assert found["transitions"] == {"stable": [], "candidate": [], "shares": []}
    assert found["load"]["peak_at_ms"] is None
    assert found["load"]["sentence"] == "Not established: there was no image to copy."


def test_there_was_no_shadow(diary: Diary) -> None:
    diary.obeys(CANARY)
    with pytest.raises(NothingToReport, match="no shadow was in force in this period"):
        report(diary)
