"""What people said of the images that a shadow kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from serve_app.evidence import reviews as estimates
from serve_app.evidence.reviews import Reviewed
from serve_app.reports import to_json
from serve_app.review_service import CANNOT_TELL
from serve_app.store.scope import Scope
from serve_app.store.store import Store


def section(
    store: Store, scope: Scope, stable: str, candidate: str, shared: Collection[str]
) -> dict[str, Any]:
    """Of the images of a scope that these versions answered.

    Args:
        shared: The labels that both know.
    """
    images = [
        image
        for image in store.kept_images(scope)
        if (image.stable, image.candidate) == (stable, candidate)
    ]
    reviews = [
        Reviewed(
            stable=image.live_label,
            candidate=image.label,
            truth=None if image.review.answer == CANNOT_TELL else image.review.answer,
            probability=image.probability,
        )
        for image in images
        if image.review
    ]
    differing = estimates.disagreements(reviews, shared)
    agreeing = estimates.agreements(reviews)
    test = differing.paired
    return {
        "reviewed": len(reviews),
        "waiting": len(images) - len(reviews),
        "disagreements": {
            "only_stable": differing.only_stable,
            "only_candidate": differing.only_candidate,
            "both_wrong": differing.both_wrong,
            "cannot_tell": differing.cannot_tell,
            "left_out": differing.left_out,
            "probability": differing.probability,
            "candidate_right": to_json.share(test.share) if test else None,
            "p": test.p if test else None,
            "better": test.better if test else None,
        },
        "hijack_rate": {**to_json.share(differing.hijacks), "reviewed": differing.hijacks.trials},
        "agreements": {
            "both_wrong": {
                **to_json.share(agreeing.both_wrong),
                "reviewed": agreeing.both_wrong.trials,
            },
            "cannot_tell": agreeing.cannot_tell,
            "left_out": agreeing.left_out,
            "probability": agreeing.probability,
        },
    }
