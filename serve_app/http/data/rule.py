"""`/v1/rule` (the rule in force) and `/v1/explain` (how it serves a request)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, PositiveInt

from models.card import Share
from serve_app.data_plane.plane import DataPlane
from serve_app.data_plane.pools import Replica
from serve_app.http import documentation
from serve_app.http.headers import ignored_headers, read_context
from serve_app.http.problems import json_response, trace_of
from serve_app.rules.plan import Pool, Reason


class CandidateState(BaseModel):
    """The candidate, as the ingress that responds sees it."""

    version: str
    pool: Pool
    ready: bool = Field(description="It has been ready under this rule.")
    up: bool = Field(description="Its circuit breaker is closed.")


class Rejection(BaseModel):
    """The last configuration that was rejected."""

    path: str
    message: str


class ReplicaState(BaseModel):
    """A replica, as it describes itself."""

    replica: str
    version: str | None = Field(description="The assigned version; null if it could not load any.")
    warm: list[str] = Field(description="The versions that it has loaded.")
    answered: dict[str, int] = Field(description="Images classified, by version.")
    rejected: Rejection | None


class PoolState(BaseModel):
    pool: Pool
    replicas: list[ReplicaState]


class RuleResponse(BaseModel):
    rule: dict[str, Any] = Field(description="The keys of the YAML, defaults filled in.")
    rule_id: documentation.RuleId
    effective_weight: Share
    candidate: CandidateState | None
    warnings: list[str]
    pools: list[PoolState]
    rejected: Rejection | None


class ExplainResponse(BaseModel):
    version: str | None = Field(
        description="Null if each request is drawn, or if the replicas of the pool have several"
        " versions (a rolling update) or none."
    )
    reason: Reason
    rule: str
    rule_id: documentation.RuleId
    bucket: float | None
    threshold: float | None
    experiment: str | None
    shares: dict[str, Share] | None = Field(description="By version, if requests are drawn.")
    held: dict[str, PositiveInt] | None = Field(
        description="Replicas per version, if the replica decides the version."
    )
    notes: list[str]


def router(plane: DataPlane) -> APIRouter:
    """The router of `/v1/rule` and `/v1/explain`."""
    routes = APIRouter(tags=["rule"])

    @routes.get(
        "/v1/rule",
        summary="Show the rule in force",
        response_model=RuleResponse,
        response_description="The rule",
        responses=documentation.problem_responses(503),
    )
    async def get_rule() -> Response:
        replicas = await plane.replicas()
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
        response_model=ExplainResponse,
        response_description="The plan",
        responses=documentation.problem_responses(400, 403, 404, 503),
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
        ignored = ignored_headers(
            request.headers, plane.pseudonymizer, trust_headers=in_force.trust_headers
        )
        plan = plane.plan(context)
        bucket = in_force.bucket(context)
        experiment = in_force.experiment_terms if in_force.splits else None
        is_drawn = plan.reason is Reason.SPLIT and bucket is None
        held = None if plan.assigned else _count_versions(await plane.replicas(), plan.pool)
        only_version = next(iter(held)) if held and len(held) == 1 else None
        return json_response(
            {
                "version": None if is_drawn else plan.assigned or only_version,
                "reason": plan.reason.value,
                "rule": in_force.kind,
                "rule_id": in_force.rule_id,
                "bucket": bucket,
                "threshold": in_force.share if in_force.splits else None,
                "experiment": experiment.name if experiment else None,
                "shares": (
                    {in_force.stable: 1 - in_force.share, in_force.candidate: in_force.share}
                    if is_drawn
                    else None
                ),
                "held": held,
                "notes": in_force.header_notes(context) + ignored,
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
                {name: getattr(replica, name) for name in ReplicaState.model_fields}
                for replica in replicas
                if replica.pool == pool
            ],
        }
        for pool in Pool
    ]
