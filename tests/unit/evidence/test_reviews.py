"""Estimates from reviewed images."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from serve_app.evidence.accuracy import estimate_accuracy
from serve_app.evidence.clusters import NO_UNIT
from serve_app.evidence.confidence import proportion_sequence
from serve_app.evidence.paired import compare_paired, discordant_to_decide
from serve_app.evidence.reviews import (
    ReviewedImage,
    decide_disagreements,
    label_images,
    summarize_agreements,
    summarize_disagreements,
)
from serve_app.evidence.shadow import estimate_hijack_rate
from serve_app.evidence.verdict import Finding

SHARED = ("cat", "dog")
LABELS = (*SHARED, "koala")


def reviews_of(
    stable: str,
    candidate: str,
    truth: str | None,
    count: int = 1,
    probability: float = 1.0,
    unit: int = NO_UNIT,
) -> list[ReviewedImage]:
    return [ReviewedImage(stable, candidate, truth, probability, unit)] * count


review_lists = st.lists(
    st.builds(
        ReviewedImage,
        stable=st.sampled_from(SHARED),
        candidate=st.sampled_from(LABELS),
        truth=st.sampled_from([*LABELS, "other", None]),
        probability=st.sampled_from([0.02, 0.5, 1.0]),
        unit=st.integers(0, 4),
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


@given(review_lists)
def test_each_review_counts_once(reviews: list[ReviewedImage]) -> None:
    differing, agreeing = summarize_disagreements(reviews, SHARED), summarize_agreements(reviews)
    assert len(reviews) == sum(
        (
            differing.only_stable,
            differing.only_candidate,
            differing.both_wrong,
            differing.cannot_tell,
            differing.repeated,
            differing.excluded,
            int(agreeing.both_wrong.trials),
            agreeing.cannot_tell,
            agreeing.repeated,
            agreeing.excluded,
        )
    )


@given(review_lists)
def test_true_labels_do_not_affect_which_reviews_are_used(reviews: list[ReviewedImage]) -> None:
    cats = [
        ReviewedImage(one.stable, one.candidate, "cat", one.probability, one.unit)
        for one in reviews
    ]
    for summarize in (lambda rows: summarize_disagreements(rows, SHARED), summarize_agreements):
        found, other = summarize(reviews), summarize(cats)
        assert (found.excluded, found.repeated) == (other.excluded, other.repeated)


@given(review_lists)
def test_a_later_review_changes_no_vote(reviews: list[ReviewedImage]) -> None:
    """Of one probability: counts never decrease, and each review adds at most one."""
    same = [one for one in reviews if one.probability == 1.0]
    counts = [
        (found.only_stable, found.only_candidate, found.both_wrong, found.cannot_tell)
        for found in (summarize_disagreements(same[:n], SHARED) for n in range(len(same) + 1))
    ]
    for before, after in pairwise(counts):
        steps = [late - early for early, late in zip(before, after, strict=True)]
        assert min(steps) >= 0
        assert sum(steps) <= 1


def test_a_unit_has_one_vote() -> None:
    """Eight images of one user's dog are one vote; its first one counts, whatever it shows."""
    dogs = reviews_of("dog", "koala", "koala", 8, unit=7)
    found = summarize_disagreements(dogs, SHARED)
    assert (found.only_candidate, found.repeated) == (1, 7)
    assert found.paired == compare_paired(0, 1)
    assert found.hijacks.trials == 1
    unclear = summarize_disagreements([*reviews_of("dog", "koala", None, unit=7), *dogs], SHARED)
    assert (unclear.cannot_tell, unclear.repeated, unclear.paired) == (1, 8, None)


def test_hijacks_and_agreements_have_their_own_votes() -> None:
    """A user's first disagreement is not on a new label; the first one that is, counts there."""
    reviews = [
        *reviews_of("cat", "dog", "cat", unit=7),
        *reviews_of("dog", "koala", "dog", 3, unit=7),
        *reviews_of("cat", "cat", "dog", 3, unit=7),
        *reviews_of("cat", "cat", "cat", 2),
    ]
    found = summarize_disagreements(reviews, SHARED)
    assert (found.only_stable, found.repeated, found.hijacks.trials) == (1, 3, 1)
    agreements = summarize_agreements(reviews)
    assert (agreements.both_wrong.successes, agreements.both_wrong.trials) == (1, 3)
    assert agreements.repeated == 2


def test_keep_going_says_how_many_more_reviews() -> None:
    """Three of four votes for the candidate among eight votes: half of the votes are discordant."""
    reviews = [
        *reviews_of("dog", "koala", "koala", 3),
        *reviews_of("dog", "koala", "dog", 1),
        *reviews_of("dog", "koala", "cat", 4),
    ]
    found = summarize_disagreements(reviews, SHARED)
    needed = discordant_to_decide(0.75)
    assert needed is not None
    assert found.more_to_decide == 2 * (needed - 4)
    verdict = decide_disagreements(found)
    assert verdict.finding == Finding.KEEP_GOING
    assert f"about {found.more_to_decide} more reviewed disagreements" in verdict.sentence


def test_equal_shares_and_decided_ones_need_no_more_reviews() -> None:
    equal = summarize_disagreements(
        [*reviews_of("dog", "koala", "koala"), *reviews_of("dog", "koala", "dog")], SHARED
    )
    assert equal.more_to_decide is None
    assert "about one half, reviews do not decide it" in decide_disagreements(equal).sentence
    decided = summarize_disagreements(reviews_of("dog", "koala", "koala", 10), SHARED)
    assert decided.more_to_decide is None
    assert decide_disagreements(decided).sentence.endswith("(p = 0.011).")


def test_reviewed_images_are_a_weighted_sample() -> None:
    """Ten agreements stand for 500 images, ten disagreements for ten."""
    reviews = [
        *reviews_of("cat", "cat", "cat", 10, 0.02),
        *reviews_of("dog", "koala", "koala", 8),
        *reviews_of("dog", "koala", "dog", 2),
        *reviews_of("dog", "koala", None, 5),
    ]
    found = label_images(reviews)
    assert found is not None
    stable, candidate = (estimate_accuracy(one) for one in found)
    assert stable.rate.estimate == pytest.approx(502 / 510)
    assert candidate.rate.estimate == pytest.approx(508 / 510)
    assert (stable.images, candidate.images) == (20, 20)


@pytest.mark.parametrize(
    "reviews",
    [
        [],
        reviews_of("dog", "koala", "koala", 5),
        reviews_of("dog", "dog", "koala", 5),
        [*reviews_of("dog", "koala", "koala", 5), *reviews_of("cat", "cat", None, 5)],
    ],
)
def test_accuracy_needs_both_kinds(reviews: list[ReviewedImage]) -> None:
    assert label_images(reviews) is None


def p_by_counts(most: int) -> npt.NDArray[np.float64]:
    """[n, k]: p if exactly one version is right on n images, and the candidate on k of them."""
    n, k = np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij")
    log_p = n * np.log(0.5) - special.betaln(1 + k, 1 + np.maximum(n - k, 0))
    return np.asarray(np.where(k <= n, np.exp(log_p), 1.0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("users", "images", "correlation"),
    [(300, 1, 0.3), (60, 5, 0.3), (60, 5, 1.0), (30, 10, 0.3), (30, 10, 1.0)],
)
def test_equal_versions_are_rarely_different(users: int, images: int, correlation: float) -> None:
    """Of users whose images resemble one another, reviewed in random order; a look after each of
    300 reviews. Exactly one version is right on each image."""
    rng = np.random.default_rng(14)
    runs, false, one_by_one = 4000, 0, 0
    p, reviews = p_by_counts(300), np.arange(1, 301)
    for run in range(runs):
        spread = (1 - correlation) / correlation / 2
        share = rng.beta(spread, spread, users) if spread else rng.integers(0, 2, users)
        unit = rng.permutation(np.repeat(np.arange(1, users + 1), images))
        right = rng.random(300) < share[unit - 1]
        is_vote = np.zeros(300, np.bool_)
        is_vote[np.unique(unit, return_index=True)[1]] = True
        votes, candidate = is_vote.cumsum(), (is_vote & right).cumsum()
        false += (p[votes, candidate] < 0.05).any()
        one_by_one += (p[reviews, right.cumsum()] < 0.05).any()
        if run < 30:
            look = int(rng.integers(1, 301))
            found = summarize_disagreements(
                [
                    ReviewedImage("dog", "koala", "koala" if is_right else "dog", 1.0, user)
                    for user, is_right in zip(unit[:look].tolist(), right.tolist(), strict=False)
                ],
                SHARED,
            )
            assert found.only_candidate == candidate[look - 1]
            assert found.only_stable == (votes - candidate)[look - 1]
            assert found.paired
            assert found.paired.p == pytest.approx(min(1, p[votes, candidate][look - 1]))
    print(
        f"{users} users x {images}, ICC {correlation}, seed 14, {runs} runs: {false / runs:.4f}"
        f" false; each image a vote: {one_by_one / runs:.4f}"
    )
    assert false / runs <= 0.05
    if images > 1:
        assert one_by_one / runs > 0.05
