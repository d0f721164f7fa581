"""`/v1/rule` (the rule in force) and `/v1/explain` (how it serves a request)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi import APIRouter, Request, Response

from serve_app.data_plane.plane import DataPlane
from serve_app.data_plane.pools import Replica
from serve_app.domain import Pool, Reason
from serve_app.http import documentation
from serve_app.http.documentation import ARRAY, OBJECT, STRING, object_schema
from serve_app.http.headers import read_context
from serve_app.http.problems import json_response, trace_of


def router(plane: DataPlane) -> APIRouter:
    """The router of `/v1/rule` and `/v1/explain`."""
    routes = APIRouter(tags=["rule"])

    @routes.get(
        "/v1/rule",
        summary="Show the rule in force",
        responses={
            200: documentation.response("The rule", _RULE),
            **documentation.problem_responses(503),
        },
    )
    async def get_rule() -> Response:
        replicas = await plane.pools.replicas()
        in_force = plane.rule
        return json_response(
            {
                "rule": in_force.content(),
                "rule_id": in_force.rule_id,
                "effective_weight": plane.effective_weight,
                "candidate": _candidate(plane),
                "warnings": in_force.warnings(),
                "pools": _pools(replicas),
                "rejected": plane.rejection,
            }
        )

    @routes.get(
        "/v1/explain",
        summary="Explain which version serves a request with these headers",
        openapi_extra={"parameters": documentation.CONTEXT_HEADERS},
        responses={
            200: documentation.response("The plan", _EXPLANATION),
            **documentation.problem_responses(400, 403, 404, 503),
        },
    )
    async def explain(request: Request) -> Response:
        in_force = plane.rule
        context = read_context(
            request.headers,
            trace_of(request).request_id,
            plane.pseudonymizer,
            trust_headers=in_force.trust_headers,
        )
        plane.check_pin(context)
        plan = plane.plan(context)
        position = in_force.split_position(context)
        experiment = in_force.experiment_terms
        stable, *other = in_force.versions.values()
        is_drawn = plan.reason is Reason.SPLIT and position and position.bucket is None
        held = None if plan.assigned else _count_versions(await plane.pools.replicas(), plan.pool)
        only_version = next(iter(held)) if held and len(held) == 1 else None
        return json_response(
            {
                "version": None if is_drawn else plan.assigned or only_version,
                "reason": plan.reason.value,
                "rule": in_force.kind,
                "rule_id": in_force.rule_id,
                "bucket": position.bucket if position else None,
                "threshold": position.threshold if position else None,
                "experiment": experiment.name if experiment else None,
                "shares": (
                    {stable: 1 - in_force.share, other[0]: in_force.share} if is_drawn else None
                ),
                "held": held,
                "notes": in_force.header_notes(context),
            }
        )

    return routes


def _count_versions(replicas: list[Replica], pool: Pool) -> dict[str, int]:
    """The number of replicas of a pool per assigned version."""
    return Counter(
        replica.version for replica in replicas if replica.pool == pool and replica.version
    )


def _candidate(plane: DataPlane) -> dict[str, Any] | None:
    """The candidate and its state, as this ingress sees it."""
    candidate = plane.rule.candidate_replicas
    if candidate is None:
        return None
    return {
        "version": candidate.version,
        "pool": candidate.pool.value,
        "ready": plane.breaker.ready,
        "up": plane.breaker.is_closed,
    }


def _pools(replicas: list[Replica]) -> list[dict[str, Any]]:
    return [
        {
            "pool": pool,
            "replicas": [
                {
                    "replica": replica.replica,
                    "version": replica.version,
                    "warm": replica.warm,
                    "answered": replica.answered,
                    "rejected": replica.rejected,
                }
                for replica in replicas
                if replica.pool == pool
            ],
        }
        for pool in Pool
    ]


_RULE = object_schema(
    rule=OBJECT,
    rule_id=STRING,
    effective_weight={"type": "number", "minimum": 0, "maximum": 1},
    candidate={"type": ["object", "null"]},
    warnings={"type": "array", "items": STRING},
    pools={"type": "array", "items": object_schema(pool=STRING, replicas=ARRAY)},
    rejected={"type": ["object", "null"]},
)
_EXPLANATION = object_schema(
    version={
        "type": ["string", "null"],
        "description": "Null if each request is drawn, or if the replicas of the pool have several"
        " versions (a rolling update) or none.",
    },
    reason={"type": "string", "enum": documentation.REASONS},
    rule=STRING,
    rule_id=STRING,
    bucket={"type": ["number", "null"]},
    threshold={"type": ["number", "null"]},
    experiment={"type": ["string", "null"]},
    shares={"type": ["object", "null"], "description": "By version, if requests are drawn."},
    held={
        "type": ["object", "null"],
        "description": "Replicas per version, if the replica decides the version.",
        "additionalProperties": {"type": "integer", "minimum": 1},
    },
    notes={"type": "array", "items": STRING},
)
