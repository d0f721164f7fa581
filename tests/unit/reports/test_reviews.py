"""The sections of the shadow report on images whose true label is known."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from serve_app.cli.report import reviews as text
from serve_app.clock import MINUTE_MS
from serve_app.evidence.confidence import proportion_sequence
from serve_app.evidence.paired import compare_paired
from serve_app.recording.batch import Batch
from serve_app.reports.reviews import assess_told
from serve_app.store.audit import NewAuditEntry
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import Store
from tests.factories import kept_image
from tests.unit.reports.conftest import (
    DAY,
    SHADOW,
    START_MS,
    StoreBuilder,
    as_json,
    assess,
    hours,
    user_hash,
)

# (stable's label, candidate's label, review answer) -> number of images
COUNTS = {
    ("dog", "koala", "koala"): 6,
    ("dog", "koala", "dog"): 2,
    ("cat", "dog", "other"): 1,
    ("cat", "koala", "cannot_tell"): 3,
    ("cat", "cat", "cat"): 4,
    ("dog", "dog", "cat"): 1,
    ("cat", "koala", None): 2,
}


class ReviewStore:
    """A store with kept images of a shadow and their reviews."""

    def __init__(self, builder: StoreBuilder) -> None:
        self._rule = builder.adopt_rule(SHADOW)
        self.store: Store = builder.build()
        self._sequence = 0

    def add(self, live_label: str, label: str, answer: str | None, **changes: Any) -> None:
        self._sequence += 1
        fields: dict[str, Any] = {
            "at_ms": START_MS + MINUTE_MS,
            "rule_id": self._rule.rule_id,
            "digest": f"{self._sequence:064x}",
            "unit": None,
            "live_label": live_label,
            "label": label,
            "room": 1000,
            "probability": 1.0,
        }
        image = kept_image(self._sequence, **fields | changes)
        self.store.record(Batch(image.writer, kept=(image,)))
        if answer:
            self.store.add_review(
                image.digest, answer, NewAuditEntry("review", "ada", "", {}), at_ms=START_MS
            )

    def report(self, **region: Any) -> dict[str, Any]:
        period = hours(0, 24, **region) if region else DAY
        return as_json(assess("shadow", self.store, period))

    def section(self, **region: Any) -> dict[str, Any]:
        """The review section of the report."""
        section: dict[str, Any] = self.report(**region)["reviews"]
        return section


@pytest.fixture
def review_store(builder: StoreBuilder) -> ReviewStore:
    return ReviewStore(builder)


def fill(review_store: ReviewStore) -> ReviewStore:
    for image, count in COUNTS.items():
        for _ in range(count):
            review_store.add(*image)
    return review_store


def print_section(review_store: ReviewStore) -> list[str]:
    out = io.StringIO()
    text.show(Console(file=out, width=200, highlight=False), review_store.report())
    return out.getvalue().strip().splitlines()


def test_the_section_counts_which_version_is_right(review_store: ReviewStore) -> None:
    section = fill(review_store).section()
    assert (section["reviewed"], section["waiting"]) == (17, 2)
    test = compare_paired(2, 6)
    assert section["disagreements"] == {
        "only_stable": 2,
        "only_candidate": 6,
        "both_wrong": 1,
        "cannot_tell": 3,
        "repeated": 0,
        "excluded": 0,
        "probability": 1.0,
        "candidate_right": {
            "estimate": 0.75,
            "interval": [test.share.interval.low, test.share.interval.high],
        },
        "p": test.p,
        "better": None,
        "more_to_decide": 44,
    }
    assert section["hijack_rate"]["estimate"] == 0.25
    assert section["hijack_rate"]["reviewed"] == 8
    wrong = proportion_sequence(1, 5)
    assert section["agreements"]["both_wrong"] == {
        "estimate": 0.2,
        "interval": [wrong.low, wrong.high],
        "reviewed": 5,
    }


def test_without_reviews_the_rates_are_not_known(review_store: ReviewStore) -> None:
    review_store.add("dog", "koala", None)
    section = review_store.section()
    assert (section["reviewed"], section["waiting"]) == (0, 1)
    for key in ("candidate_right", "p", "better", "probability"):
        assert section["disagreements"][key] is None
    assert section["hijack_rate"]["estimate"] is None
    assert section["agreements"]["both_wrong"]["estimate"] is None
    assert print_section(review_store) == [
        "reviews: 0 images reviewed, 1 waiting; which version is right is not known",
    ]


KOALA, DOG = ("dog", "koala", "koala"), ("dog", "koala", "dog")


@pytest.mark.parametrize(
    ("reviews", "finding", "sentence"),
    [
        (
            [("cat", "koala", "cannot_tell"), ("cat", "dog", "other")],
            "not known",
            "no reviewed image shows exactly one to be right.",
        ),
        ([KOALA, KOALA, DOG], "keep going", "Of 3 reviewed .* right on 2 .p = 1.; about 87 more"),
        ([KOALA] * 10, "better", "Of 10 reviewed images, one a unit, .* right on 10 .p = 0.011.."),
        ([DOG] * 10, "worse", "Of 10 reviewed images, one a unit, .* right on 0 .p = 0.011.."),
    ],
)
def test_the_reviews_decide_the_finding(
    review_store: ReviewStore, reviews: list[tuple[str, str, str]], finding: str, sentence: str
) -> None:
    for review in reviews:
        review_store.add(*review)
    report = review_store.report()
    assert report["finding"] == finding
    assert re.search(sentence, report["sentence"])


def test_images_of_other_versions_do_not_count(review_store: ReviewStore) -> None:
    review_store.add("dog", "koala", "dog", candidate="v3")
    review_store.add("dog", "koala", "dog", stable="v3")
    assert review_store.section()["reviewed"] == 0


def test_only_images_of_the_period_and_the_region_count(review_store: ReviewStore) -> None:
    review_store.add("dog", "koala", "koala", region="AU")
    review_store.add("dog", "koala", "koala", region="DE")
    review_store.add("dog", "koala", "koala", at_ms=DAY.until_ms, region="AU")
    assert review_store.section()["reviewed"] == 2
    australia = {"region": "AU", "countries": frozenset({"AU"})}
    assert review_store.section(**australia)["reviewed"] == 1


def test_better_is_set_once_p_is_below_alpha(review_store: ReviewStore) -> None:
    for _ in range(10):
        review_store.add("dog", "koala", "koala")
    assert review_store.section()["disagreements"]["better"] == "candidate"
    test = print_section(review_store)[2]
    assert test.startswith("candidate right where exactly one is right: 100.0 % (")
    assert test.endswith("), candidate is better (p = 0.011, always valid)")


def test_the_section_is_printed(review_store: ReviewStore) -> None:
    lines = print_section(fill(review_store))
    assert lines[:2] == [
        "reviews: 17 images reviewed, 2 waiting",
        "disagreements: 2 only stable right, 6 only candidate right, 1 both wrong, 3 undecidable",
    ]
    assert lines[2].startswith("candidate right where exactly one is right: 75.0 % (")
    assert "), no difference shown (p = " in lines[2]
    assert lines[3].startswith(
        "hijack rate (candidate predicts koala, true label cat or dog): 25.0 % ("
    )
    assert lines[4].startswith("agreements: both wrong in 20.0 % (")
    assert lines[5] == "accuracy on all copied images, estimated from the reviewed ones:"
    assert lines[6].startswith("stable right: 42.9 % (")
    assert lines[7].startswith("candidate right: 71.4 % (")
    assert lines[8].split() == [
        *("true", "label", "said", "cat", "said", "dog", "said", "koala"),
        *("right", "(95", "%,", "simultaneous)"),
    ]
    assert lines[9].split()[:7] == ["stable", "cat", "4", "1", "0", "80.0", "%"]
    assert len(lines) == 17


def test_images_with_another_keep_probability_are_excluded(review_store: ReviewStore) -> None:
    for probability in (1.0, 1.0, 0.5):
        review_store.add("dog", "koala", "dog", probability=probability)
    assert review_store.section()["disagreements"]["excluded"] == 1
    assert "1 excluded (other keep probability)" in print_section(review_store)[1]


def test_images_of_a_unit_have_one_vote(review_store: ReviewStore) -> None:
    """The first reviewed one, although another image was sent earlier."""
    user = user_hash(7)
    review_store.add("dog", "koala", None, unit=user)
    for answer in ("dog", "koala", "koala"):
        review_store.add("dog", "koala", answer, unit=user, at_ms=START_MS + MINUTE_MS - 1)
    section = review_store.section()["disagreements"]
    assert (section["only_stable"], section["only_candidate"], section["repeated"]) == (1, 0, 2)
    assert print_section(review_store)[1].endswith("0 undecidable, 2 more of the same units")


def test_an_image_counts_from_its_copy_on(review_store: ReviewStore) -> None:
    """Its review may be older: of the same image, kept for another candidate."""
    user = user_hash(7)
    review_store.add("dog", "koala", "dog", unit=user, at_ms=START_MS + 2 * MINUTE_MS)
    review_store.add("dog", "koala", "koala", unit=user, at_ms=START_MS + MINUTE_MS)
    assert review_store.section()["disagreements"]["only_candidate"] == 1


def test_accuracy_is_that_of_all_copied_images(review_store: ReviewStore) -> None:
    """Each of two kept agreements stands for 50 images."""
    for answer in ("cat", "dog"):
        review_store.add("cat", "cat", answer, probability=0.02)
    for _ in range(20):
        review_store.add("dog", "koala", "koala")
    section = review_store.section()
    accuracy, confusion = section["accuracy"], section["confusion"]
    assert accuracy["stable"]["rate"]["estimate"] == pytest.approx(50 / 120)
    assert accuracy["candidate"]["rate"]["estimate"] == pytest.approx(70 / 120)
    assert accuracy["candidate"]["images"] == 22
    assert accuracy["candidate"]["recall"]["koala"]["estimate"] == 1
    assert confusion["stable"] == {"cat": {"cat": 50}, "dog": {"cat": 50}, "koala": {"dog": 20}}


def test_accuracy_is_not_known_without_reviewed_agreements(review_store: ReviewStore) -> None:
    review_store.add("dog", "koala", "koala")
    section = review_store.section()
    assert (section["accuracy"], section["confusion"]) == (None, None)
    assert print_section(review_store)[-1].startswith("accuracy: not known")


def print_told(told: dict[str, Any]) -> list[str]:
    out = io.StringIO()
    text.show_told(Console(file=out, width=200, highlight=False), {"told": told})
    return out.getvalue().strip().splitlines()


def test_told_labels_show_which_version_is_right(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    said = [("koala", "koala")] * 3 + [("koala", "dog"), ("koala", "cat"), ("dog", "dog")]
    for user, (candidate, truth) in enumerate(said, start=1):
        live = builder.add_exposure("v1", user, label="dog")
        builder.add_pair(live, candidate)
        builder.add_feedback(live, label=truth)
    builder.add_pair(builder.add_exposure("v1", 9, label="dog"), "koala")
    live = builder.add_exposure("v1", 10, label="dog")
    builder.add_pair(live, "koala")
    builder.add_feedback(live, unknown_label="kaola")
    told = as_json(assess_told(builder.build(), EVERYTHING))
    assert (told["images"], told["unknown_labels"]) == (6, 1)
    assert told["disagreements"] == {"only_stable": 1, "only_candidate": 3, "both_wrong": 1}
    assert told["accuracy"]["stable"]["rate"]["estimate"] == pytest.approx(2 / 6)
    assert told["accuracy"]["candidate"]["rate"]["estimate"] == pytest.approx(4 / 6)
    assert told["confusion"]["candidate"] == {
        "cat": {"koala": 1},
        "dog": {"dog": 1, "koala": 1},
        "koala": {"koala": 3},
    }
    unknown, _, *lines = print_told(told)
    assert unknown == "feedback with a label that no version has, not counted: 1"
    assert "decides nothing" in lines[0]
    assert lines[1] == "disagreements: 1 only stable right, 3 only candidate right, 1 both wrong"
    assert lines[3].startswith("candidate right: 66.7 % (")


def test_without_told_labels_nothing_is_known(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    told = as_json(assess_told(builder.build(), EVERYTHING))
    assert told["accuracy"]["stable"]["rate"]["estimate"] is None
    assert print_told(told) == ["users told the true label of no copied image"]
