"""`/v1/rule` and `/v1/explain`: the rule in force, and what it does with a request."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi import APIRouter, Request, Response

from serve_app.data_plane.plane import DataPlane
from serve_app.data_plane.pools import Replica
from serve_app.domain import Pool, Reason
from serve_app.http import documentation
from serve_app.http.documentation import TEXT, fields
from serve_app.http.headers import read_context
from serve_app.http.problems import json_response, trace_of


def router(plane: DataPlane) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["rule"])

    @routes.get(
        "/v1/rule",
        summary="The rule in force",
        responses={
            200: documentation.answer("The rule", _RULE),
            **documentation.problems(503),
        },
    )
    async def rule() -> Response:
        replicas = await plane.pools.replicas()
        in_force = plane.rule
        return json_response(
            {
                "rule": in_force.content(),
                "rule_id": in_force.rule_id,
                "effective_weight": plane.effective_weight,
                "candidate": _candidate(plane),
                "warnings": in_force.warnings(),
                "pools": _by_pool(replicas),
                "rejected": plane.rejection,
            }
        )

    @routes.get(
        "/v1/explain",
        summary="Who would answer a request with these headers, and why",
        openapi_extra={"parameters": documentation.CONTEXT_HEADERS},
        responses={
            200: documentation.answer("The plan", _EXPLANATION),
            **documentation.problems(400, 403, 404, 503),
        },
    )
    async def explain(request: Request) -> Response:
        in_force = plane.rule
        context = read_context(
            request.headers,
            trace_of(request).request_id,
            plane.pseudonymizer,
            trusted=in_force.trust_headers,
        )
        plane.check_pin(context)
        plan = plane.plan(context)
        position = in_force.position(context)
        experiment = in_force.experiment_terms
        stable, *other = in_force.versions.values()
        drawn = plan.reason is Reason.SPLIT and position and position.bucket is None
        held = None if plan.assigned else _held(await plane.pools.replicas(), plan.pool)
        only = next(iter(held)) if held and len(held) == 1 else None
        return json_response(
            {
                "version": None if drawn else plan.assigned or only,
                "reason": plan.reason.value,
                "rule": in_force.kind,
                "rule_id": in_force.rule_id,
                "bucket": position.bucket if position else None,
                "threshold": position.threshold if position else None,
                "experiment": experiment.name if experiment else None,
                "shares": (
                    {stable: 1 - in_force.share, other[0]: in_force.share} if drawn else None
                ),
                "held": held,
                "notes": in_force.notes(context),
            }
        )

    return routes


def _held(replicas: list[Replica], pool: Pool) -> dict[str, int]:
    """How many replicas of a pool are assigned each version."""
    return Counter(
        replica.version for replica in replicas if replica.pool == pool and replica.version
    )


def _candidate(plane: DataPlane) -> dict[str, Any] | None:
    """How this ingress sees the version that the rule tries."""
    candidate = plane.rule.candidate_replicas
    if candidate is None:
        return None
    return {
        "version": candidate.version,
        "pool": candidate.pool.value,
        "ready": plane.breaker.ready,
        "up": plane.breaker.is_closed,
    }


def _by_pool(replicas: list[Replica]) -> list[dict[str, Any]]:
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


_RULE = fields(
    rule={"type": "object"},
    rule_id=TEXT,
    effective_weight={"type": "number", "minimum": 0, "maximum": 1},
    candidate={"type": ["object", "null"]},
    warnings={"type": "array", "items": TEXT},
    pools={"type": "array", "items": fields(pool=TEXT, replicas={"type": "array"})},
    rejected={"type": ["object", "null"]},
)
_EXPLANATION = fields(
    version={
        "type": ["string", "null"],
        "description": "Null where each request is drawn, and where the replicas that may answer"
        " hold several versions (a rolling update) or none.",
    },
    reason={"type": "string", "enum": documentation.REASONS},
    rule=TEXT,
    rule_id=TEXT,
    bucket={"type": ["number", "null"]},
    threshold={"type": ["number", "null"]},
    experiment={"type": ["string", "null"]},
    shares={"type": ["object", "null"], "description": "By version, where requests are drawn."},
    held={
        "type": ["object", "null"],
        "description": "How many replicas hold each version, where the rule leaves it to them.",
        "additionalProperties": {"type": "integer", "minimum": 1},
    },
    notes={"type": "array", "items": TEXT},
)
