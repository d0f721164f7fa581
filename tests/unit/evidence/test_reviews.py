"""Estimates from reviewed images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.confidence import proportion_sequence
from serve_app.evidence.paired import compare_paired
from serve_app.evidence.reviews import (
    ReviewedImage,
    summarize_agreements,
    summarize_disagreements,
)
from serve_app.evidence.shadow import estimate_hijack_rate

SHARED = ("cat", "dog")
LABELS = (*SHARED, "koala")


def reviews_of(
    stable: str, candidate: str, truth: str | None, count: int = 1, probability: float = 1.0
) -> list[ReviewedImage]:
    return [ReviewedImage(stable, candidate, truth, probability)] * count


review_lists = st.lists(
    st.builds(
        ReviewedImage,
        stable=st.sampled_from(SHARED),
        candidate=st.sampled_from(LABELS),
        truth=st.sampled_from([*LABELS, "other", None]),
        probability=st.sampled_from([0.02, 0.5, 1.0]),
    ),
    max_size=30,
)


def test_disagreements_are_counted_by_which_version_is_right() -> None:
    reviews = [
        *reviews_of("dog", "koala", "koala", 6),  # only the candidate
        *reviews_of("dog", "koala", "dog", 2),  # only stable; hijacked
        *reviews_of("cat", "koala", "dog", 1),  # neither; hijacked
        *reviews_of("cat", "dog", "other", 3),  # neither
        *reviews_of("cat", "koala", None, 4),
        *reviews_of("cat", "cat", "cat", 7),  # an agreement: not counted
    ]
    found = summarize_disagreements(reviews, SHARED)
    assert (found.only_stable, found.only_candidate, found.both_wrong) == (2, 6, 4)
    assert (found.cannot_tell, found.excluded, found.probability) == (4, 0, 1.0)
    assert found.paired == compare_paired(2, 6)
    assert found.hijacks == estimate_hijack_rate(9, 3)


def test_images_without_a_shared_true_label_are_no_hijacks() -> None:
    """A wombat that is predicted as a koala is neither a cat nor a dog."""
    assert summarize_disagreements(
        reviews_of("cat", "koala", "other", 5), SHARED
    ).hijacks == estimate_hijack_rate(5, 0)


def test_agreements_are_summarized_separately() -> None:
    reviews = [
        *reviews_of("cat", "cat", "cat", 15, 0.02),
        *reviews_of("dog", "dog", "koala", 4, 0.02),
        *reviews_of("dog", "dog", "other", 1, 0.02),
        *reviews_of("dog", "dog", None, 2, 0.02),
        *reviews_of("dog", "koala", "koala", 9),
    ]
    found = summarize_agreements(reviews)
    assert (found.both_wrong.successes, found.both_wrong.trials) == (5, 20)
    assert found.both_wrong.interval == proportion_sequence(5, 20)
    assert (found.cannot_tell, found.excluded, found.probability) == (2, 0, 0.02)


@pytest.mark.parametrize(
    "reviews", [[], reviews_of("cat", "koala", None, 3), reviews_of("cat", "cat", "dog", 3)]
)
def test_disagreements_without_true_labels_have_no_rates(reviews: list[ReviewedImage]) -> None:
    found = summarize_disagreements(reviews, SHARED)
    assert found.paired is None
    assert (found.hijacks.estimate, found.hijacks.trials) == (None, 0)


def test_without_agreements_both_wrong_is_not_known() -> None:
    found = summarize_agreements(reviews_of("cat", "koala", "koala"))
    assert (found.both_wrong.estimate, found.probability) == (None, None)


def test_images_with_both_wrong_favor_no_version() -> None:
    found = summarize_disagreements(reviews_of("cat", "dog", "koala", 50), SHARED)
    assert (found.paired, found.both_wrong) == (None, 50)


def test_most_frequent_probability_is_used() -> None:
    """Whatever the reviews say: a choice by result would bias the estimate."""
    many, few = (
        reviews_of("dog", "koala", "dog", 5, 0.5),
        reviews_of("dog", "koala", "koala", 4, 1.0),
    )
    found = summarize_disagreements([*few, *many], SHARED)
    assert (found.only_stable, found.only_candidate, found.excluded) == (5, 0, 4)
    assert found.probability == 0.5
    tie = summarize_disagreements([*few, *many[:4]], SHARED)
    assert (tie.only_candidate, tie.excluded, tie.probability) == (4, 4, 1.0)


@given(review_lists, st.randoms())
def test_each_review_counts_once_in_any_order(reviews: list[ReviewedImage], random: object) -> None:
    differing, agreeing = summarize_disagreements(reviews, SHARED), summarize_agreements(reviews)
    assert len(reviews) == sum(
        (
            differing.only_stable,
            differing.only_candidate,
            differing.both_wrong,
            differing.cannot_tell,
            differing.excluded,
            int(agreeing.both_wrong.trials),
            agreeing.cannot_tell,
            agreeing.excluded,
        )
    )
    shuffled = list(reviews)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert summarize_disagreements(shuffled, SHARED) == differing
    assert summarize_agreements(shuffled) == agreeing


@given(review_lists)
def test_true_labels_do_not_affect_which_reviews_are_used(reviews: list[ReviewedImage]) -> None:
    cats = [ReviewedImage(one.stable, one.candidate, "cat", one.probability) for one in reviews]
    assert (
        summarize_disagreements(cats, SHARED).excluded
        == summarize_disagreements(reviews, SHARED).excluded
    )
    assert summarize_agreements(cats).excluded == summarize_agreements(reviews).excluded
