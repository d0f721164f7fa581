"""The state of the service as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from serve_app.control_plane.cluster import ClusterState
from serve_app.control_plane.convergence import Convergence
from serve_app.deployment.summary import summarize
from serve_app.store.epochs import Epoch
from serve_app.store.ingress_writers import Recording
from serve_app.store.recreations import Recreation
from serve_app.store.revisions import Revision

MAX_WRITERS = 10  # that are listed


def content(
    state: ClusterState,
    convergence: Convergence,
    revision: Revision | None,
    epoch: Epoch | None,
    recreation: Recreation | None,
    recording: Recording,
) -> dict[str, Any]:
    """The content of `GET /control/status`."""
    return {
        "in_force": convergence.in_force,
        "failed": convergence.has_failed,
        "lacking": [asdict(item) for item in convergence.lacking],
        "troubles": list(convergence.troubles),
        "revision": revision.number if revision else None,
        "applications": {name: asdict(app) for name, app in state.applications.items()},
        "epoch": asdict(epoch) if epoch else None,
        "recreation": recreation_content(recreation) if recreation else None,
        "recording": {
            "stored": recording.stored,
            "dropped": recording.dropped,
            "missing": recording.missing,
            "rejected": recording.rejected,
            "shadow_pairs": recording.pairs,
            "dropped_shadow_pairs": recording.dropped_pairs,
            "shadow": recording.outcomes,
            "writers": [asdict(writer) for writer in recording.writers[:MAX_WRITERS]],
        },
    }


def recreation_content(recreation: Recreation) -> dict[str, Any]:
    """A recreation as JSON, with its downtime."""
    return {**asdict(recreation), "downtime_s": recreation.downtime_s}


def revision_content(revision: Revision, latest: Revision | None) -> dict[str, Any]:
    """A revision as JSON, without its document.

    Args:
        latest: The latest deployed revision.
    """
    is_latest = latest is not None and latest.number == revision.number
    return {
        "number": revision.number,
        "at_ms": revision.at_ms,
        "actor": revision.actor,
        "reason": revision.reason,
        "kind": revision.kind.value,
        "state": revision.state.value,
        "in_force_at_ms": revision.in_force_at_ms,
        "in_force": is_latest and revision.in_force_at_ms is not None,
        "digest": revision.digest,
        "rule": summarize(revision.document).content(),
    }
