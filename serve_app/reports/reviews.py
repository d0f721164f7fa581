"""The section of the shadow report on reviewed images."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from serve_app.evidence import reviews as estimates
from serve_app.evidence.reviews import ReviewedImage
from serve_app.reports import to_json
from serve_app.review_service import CANNOT_TELL
from serve_app.store.scope import Scope
from serve_app.store.store import Store


def section(
    store: Store, scope: Scope, stable: str, candidate: str, shared: Collection[str]
) -> dict[str, Any]:
    """Review results on the kept images of these two versions.

    Args:
        shared: The labels that both versions know.
    """
    images = [
        image
        for image in store.kept_images(scope)
        if (image.stable, image.candidate) == (stable, candidate)
    ]
    reviewed = [
        ReviewedImage(
            stable=image.live_label,
            candidate=image.label,
            truth=None if image.review.answer == CANNOT_TELL else image.review.answer,
            probability=image.probability,
        )
        for image in images
        if image.review
    ]
    disagreements = estimates.summarize_disagreements(reviewed, shared)
    agreements = estimates.summarize_agreements(reviewed)
    test = disagreements.paired
    return {
        "reviewed": len(reviewed),
        "waiting": len(images) - len(reviewed),
        "disagreements": {
            "only_stable": disagreements.only_stable,
            "only_candidate": disagreements.only_candidate,
            "both_wrong": disagreements.both_wrong,
            "cannot_tell": disagreements.cannot_tell,
            "excluded": disagreements.excluded,
            "probability": disagreements.probability,
            "candidate_right": to_json.rate(test.share) if test else None,
            "p": test.p if test else None,
            "better": test.better if test else None,
        },
        "hijack_rate": {
            **to_json.rate(disagreements.hijacks),
            "reviewed": disagreements.hijacks.trials,
        },
        "agreements": {
            "both_wrong": {
                **to_json.rate(agreements.both_wrong),
                "reviewed": agreements.both_wrong.trials,
            },
            "cannot_tell": agreements.cannot_tell,
            "excluded": agreements.excluded,
            "probability": agreements.probability,
        },
    }
