"""What people said of the pictures that a shadow kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from serve_app.evidence import reviews as estimates
from serve_app.evidence.reviews import Reviewed
from serve_app.reports import figures
from serve_app.reviewing import CANNOT_TELL
from serve_app.store.scope import Scope
from serve_app.store.store import Store


def section(
    store: Store, scope: Scope, stable: str, candidate: str, shared: Collection[str]
) -> dict[str, Any]:
    """Of the pictures of a scope that these versions answered.

    Args:
        shared: The labels that both know.
    """
    pictures = [
        picture
        for picture in store.kept_pictures(scope)
        if (picture.stable, picture.candidate) == (stable, candidate)
    ]
    reviews = [
        Reviewed(
            stable=picture.live_label,
            candidate=picture.label,
            truth=None if picture.review.answer == CANNOT_TELL else picture.review.answer,
            probability=picture.probability,
        )
        for picture in pictures
        if picture.review
    ]
    differing = estimates.disagreements(reviews, shared)
    agreeing = estimates.agreements(reviews)
    test = differing.paired
    return {
        "reviewed": len(reviews),
        "waiting": len(pictures) - len(reviews),
        "disagreements": {
            "only_stable": differing.only_stable,
            "only_candidate": differing.only_candidate,
            "both_wrong": differing.both_wrong,
            "cannot_tell": differing.cannot_tell,
            "left_out": differing.left_out,
            "probability": differing.probability,
            "candidate_right": figures.share(test.share) if test else None,
            "p": test.p if test else None,
            "better": test.better if test else None,
        },
        "hijack_rate": {**figures.share(differing.hijacks), "reviewed": differing.hijacks.trials},
        "agreements": {
            "both_wrong": {
                **figures.share(agreeing.both_wrong),
                "reviewed": agreeing.both_wrong.trials,
            },
            "cannot_tell": agreeing.cannot_tell,
            "left_out": agreeing.left_out,
            "probability": agreeing.probability,
        },
    }
