"""The review section of the shadow report."""

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
from serve_app.store.audit import NewAuditEntry
from serve_app.store.store import Store
from tests.factories import kept_image
from tests.unit.reports.conftest import DAY, SHADOW, START_MS, StoreBuilder, as_json, assess, hours

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
        "excluded": 0,
        "probability": 1.0,
        "candidate_right": {
            "estimate": 0.75,
            "interval": [test.share.interval.low, test.share.interval.high],
        },
        "p": test.p,
        "better": None,
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
        ([KOALA, KOALA, DOG], "keep going", "Of 3 reviewed images .* right on 2 .p = 1.."),
        ([KOALA] * 10, "better", "Of 10 reviewed images .* right on 10 .p = 0.011.."),
        ([DOG] * 10, "worse", "Of 10 reviewed images .* right on 0 .p = 0.011.."),
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
    assert (
        "v2 right where exactly one version is right: 100.0 % (" in print_section(review_store)[2]
    )
    assert "), v2 is better (p = 0.011, always valid)" in print_section(review_store)[2]


def test_the_section_is_printed(review_store: ReviewStore) -> None:
    header, disagreements, test, hijack_rate, agreements = print_section(fill(review_store))
    assert header == "reviews: 17 images reviewed, 2 waiting"
    assert disagreements == (
        "disagreements: 2 only v1 right, 6 only v2 right, 1 both wrong, 3 undecidable"
    )
    assert test.startswith("v2 right where exactly one version is right: 75.0 % (")
    assert "), no difference shown (p = " in test
    assert hijack_rate.startswith(
        "hijack rate (v2 predicts koala, true label cat or dog): 25.0 % ("
    )
    assert agreements.startswith("agreements: both wrong in 20.0 % (")


def test_images_with_another_keep_probability_are_excluded(review_store: ReviewStore) -> None:
    for probability in (1.0, 1.0, 0.5):
        review_store.add("dog", "koala", "dog", probability=probability)
    assert review_store.section()["disagreements"]["excluded"] == 1
    assert "1 excluded (other keep probability)" in print_section(review_store)[1]
