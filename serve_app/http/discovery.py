"""What is in force, what there is, and whether it is well."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from models.card import Card
from serve_app.data_plane.plane import DataPlane
from serve_app.data_plane.pools import Replica
from serve_app.domain import Pool, Reason
from serve_app.errors import Problem
from serve_app.http import documentation
from serve_app.http.documentation import TEXT, fields
from serve_app.http.headers import read_context
from serve_app.http.problems import json_response, trace_of

_ANY = {"type": "object"}


def router(plane: DataPlane) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["discovery"])

    @routes.get(
        "/healthz",
        summary="Alive",
        responses={200: documentation.answer("Alive", _ANY)},
    )
    async def healthz() -> Response:
        return json_response({"status": "alive"})

    @routes.get(
        "/readyz",
        summary="Ready: a rule is in force and its pools have replicas",
        responses={
            200: documentation.answer("Ready", _ANY),
            **documentation.problems(503),
        },
    )
    async def readyz() -> Response:
        await plane.require_ready()
        return json_response({"status": "ready"})

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
            plane.identity,
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

    @routes.get(
        "/v1/models",
        summary="The versions of the registry",
        responses={200: documentation.answer("The versions", _MODELS)},
    )
    async def models() -> Response:
        replicas = await plane.pools.replicas()
        models, refused = [], {}
        for name in plane.versions.names():
            try:
                card = await run_in_threadpool(plane.versions.card, name)
            except Problem as problem:  # a damaged version hides no other
                refused[name] = str(problem)
            else:
                models.append(_model(card, replicas))
        return json_response({"models": models, "refused": refused})

    @routes.get(
        "/v1/models/{version}",
        summary="One version",
        openapi_extra={
            "parameters": [{"name": "version", "in": "path", "required": True, "schema": TEXT}]
        },
        responses={
            200: documentation.answer("The version", _MODEL),
            **documentation.problems(404, 503),
        },
    )
    async def model(request: Request) -> Response:
        card = await run_in_threadpool(plane.versions.card, request.path_params["version"])
        return json_response(_model(card, await plane.pools.replicas()))

    return routes


def _model(card: Card, replicas: list[Replica]) -> dict[str, Any]:
    holding = [replica for replica in replicas if card.version in replica.warm]
    some = next(iter(holding or replicas), None)
    return {
        "version": card.version,
        "labels": card.labels,
        "input": card.input.model_dump(mode="json"),
        "metrics": [metrics.model_dump(mode="json") for metrics in card.metrics],
        "digest": card.digest,
        "parent": card.parent.model_dump(mode="json") if card.parent else None,
        "backend": some.backend if some else None,
        "libraries": some.libraries if some else {},
        "assigned_replicas": sum(replica.version == card.version for replica in replicas),
        "warm_replicas": len(holding),
    }


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
        "ready": plane.watch.ready,
        "up": plane.watch.up,
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


_LIST = {"type": "array"}
_RULE = fields(
    rule=_ANY,
    rule_id=TEXT,
    effective_weight={"type": "number", "minimum": 0, "maximum": 1},
    candidate={"type": ["object", "null"]},
    warnings={"type": "array", "items": TEXT},
    pools={"type": "array", "items": fields(pool=TEXT, replicas=_LIST)},
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
_MODEL = fields(
    version=TEXT,
    labels=_LIST,
    input=_ANY,
    metrics=_LIST,
    digest=TEXT,
    parent={"type": ["object", "null"]},
    backend={"type": ["string", "null"]},
    libraries=_ANY,
    assigned_replicas={"type": "integer", "minimum": 0},
    warm_replicas={"type": "integer", "minimum": 0},
)
_MODELS = fields(
    models={"type": "array", "items": _MODEL},
    refused={"type": "object", "additionalProperties": TEXT, "description": "Why, by version."},
)
