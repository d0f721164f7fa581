"""What people say of images, turned into who is right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evidence.confidence import proportion_sequence
from serve_app.evidence.paired import paired
from serve_app.evidence.reviews import Reviewed, agreements, disagreements
from serve_app.evidence.shadow import hijack_rate

SHARED = ("cat", "dog")
LABELS = (*SHARED, "koala")


def said(
    stable: str, candidate: str, truth: str | None, times: int = 1, probability: float = 1.0
) -> list[Reviewed]:
    return [Reviewed(stable, candidate, truth, probability)] * times


every_review = st.lists(
    st.builds(
        Reviewed,
        stable=st.sampled_from(SHARED),
        candidate=st.sampled_from(LABELS),
        truth=st.sampled_from([*LABELS, "other", None]),
        probability=st.sampled_from([0.02, 0.5, 1.0]),
    ),
    max_size=30,
)


def test_by_hand() -> None:
    reviews = [
        *said("dog", "koala", "koala", 6),  # only the candidate is right
        *said("dog", "koala", "dog", 2),  # only stable; hijacked
        *said("cat", "koala", "dog", 1),  # neither; hijacked
        *said("cat", "dog", "other", 3),  # neither
        *said("cat", "koala", None, 4),
        *said("cat", "cat", "cat", 7),  # an agreement: not looked at
    ]
    found = disagreements(reviews, SHARED)
    assert (found.only_stable, found.only_candidate, found.both_wrong) == (2, 6, 4)
    assert (found.cannot_tell, found.left_out, found.probability) == (4, 0, 1.0)
    assert found.paired == paired(2, 6)
    assert found.hijacks == hijack_rate(9, 3)


def test_what_shows_a_label_that_nobody_knows_is_no_hijack() -> None:
    """A wombat that is called a koala was taken from neither cats nor dogs."""
    assert disagreements(said("cat", "koala", "other", 5), SHARED).hijacks == hijack_rate(5, 0)


def test_agreements_are_judged_apart() -> None:
    reviews = [
        *said("cat", "cat", "cat", 15, 0.02),
        *said("dog", "dog", "koala", 4, 0.02),
        *said("dog", "dog", "other", 1, 0.02),
        *said("dog", "dog", None, 2, 0.02),
        *said("dog", "koala", "koala", 9),
    ]
    found = agreements(reviews)
    assert (found.both_wrong.successes, found.both_wrong.trials) == (5, 20)
    assert found.both_wrong.interval == proportion_sequence(5, 20)
    assert (found.cannot_tell, found.left_out, found.probability) == (2, 0, 0.02)


@pytest.mark.parametrize(
    "reviews", [[], said("cat", "koala", None, 3), said("cat", "cat", "dog", 3)]
)
def test_without_a_truth_nothing_is_known_of_disagreements(reviews: list[Reviewed]) -> None:
    found = disagreements(reviews, SHARED)
    assert found.paired is None
    assert (found.hijacks.estimate, found.hijacks.trials) == (None, 0)


def test_without_reviews_nothing_is_known_of_agreements() -> None:
    found = agreements(said("cat", "koala", "koala"))
    assert (found.both_wrong.estimate, found.probability) == (None, None)


def test_where_both_are_wrong_nobody_is_better() -> None:
    found = disagreements(said("cat", "dog", "koala", 50), SHARED)
    assert (found.paired, found.both_wrong) == (None, 50)


def test_of_two_probabilities_the_one_with_more_reviews_counts() -> None:
    """Whoever was right: a choice by that would be a choice of the result."""
    many, few = said("dog", "koala", "dog", 5, 0.5), said("dog", "koala", "koala", 4, 1.0)
    found = disagreements([*few, *many], SHARED)
    assert (found.only_stable, found.only_candidate, found.left_out) == (5, 0, 4)
    assert found.probability == 0.5
    tie = disagreements([*few, *many[:4]], SHARED)
    assert (tie.only_candidate, tie.left_out, tie.probability) == (4, 4, 1.0)


@given(every_review, st.randoms())
def test_every_review_is_counted_once_and_their_order_does_not_matter(
    reviews: list[Reviewed], random: object
) -> None:
    differing, agreeing = disagreements(reviews, SHARED), agreements(reviews)
    assert len(reviews) == sum(
        (
            differing.only_stable,
            differing.only_candidate,
            differing.both_wrong,
            differing.cannot_tell,
            differing.left_out,
            int(agreeing.both_wrong.trials),
            agreeing.cannot_tell,
            agreeing.left_out,
        )
    )
    shuffled = list(reviews)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert disagreements(shuffled, SHARED) == differing
    assert agreements(shuffled) == agreeing


@given(every_review)
def test_what_an_image_showed_does_not_decide_whether_it_counts(reviews: list[Reviewed]) -> None:
    told = [Reviewed(one.stable, one.candidate, "cat", one.probability) for one in reviews]
    assert disagreements(told, SHARED).left_out == disagreements(reviews, SHARED).left_out
    assert agreements(told).left_out == agreements(reviews).left_out
