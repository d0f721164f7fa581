"""Logs and metrics of the requests of an ingress, written in the background."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from typing import Any

from ray.serve import metrics

from serve_app.data_plane.plane import DataPlane
from serve_app.recording.recorder import Recorder
from serve_app.rules.rule import Rule
from serve_app.serving.logs import flush_serve_log, log_lines
from serve_app.trace import Trace

FLUSH_INTERVAL_S = 1.0
MAX_TRACES = 20_000  # waiting to be written
LATENCY_MS: list[float] = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500, 1000, 5000]
_LABELS: Any = ("rule", "assigned", "served", "reason")  # Ray's annotation is `Tuple[str]`
_COPY_LABELS: Any = ("outcome",)
_RULE_LABELS: Any = ("rule", "rule_id", "stable", "candidate")
_REQUEST_LABELS: Any = ("route", "status", "error", *_LABELS)

RECORD_STATES = ("recorded", "delivered", "dropped", "waiting")
CANDIDATE_STATES = ("wanted", "ready", "up")

logger = logging.getLogger(__name__)


class Telemetry:
    """Collects traces of requests and writes them to the log and the metrics once a second."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._traces: deque[Trace] = deque()
        self._dropped_traces = 0
        self._requests = metrics.Counter(
            "serve_app_requests",
            "Number of requests.",
            tag_keys=_REQUEST_LABELS,
        )
        self._latency_ms = metrics.Histogram(
            "serve_app_latency_ms",
            "Time from a request's arrival at the ingress to its response, in milliseconds.",
            boundaries=LATENCY_MS,
            tag_keys=_LABELS,
        )
        self._model_ms = metrics.Histogram(
            "serve_app_model_ms",
            "The network's time for the batch of a request, in milliseconds.",
            boundaries=LATENCY_MS,
            tag_keys=("served",),
        )
        self._exposures = metrics.Gauge(
            "serve_app_exposures",
            "Number of exposures of this ingress, by state.",
            tag_keys=("state",),
        )
        self._pairs = metrics.Gauge(
            "serve_app_shadow_pairs",
            "Number of shadow pairs of this ingress, by state.",
            tag_keys=("state",),
        )
        self._kept_images = metrics.Gauge(
            "serve_app_kept_images",
            "Number of images that this ingress kept for review, by state.",
            tag_keys=("state",),
        )
        self._copies = metrics.Counter(
            "serve_app_shadow_copies",
            "Number of images in a shadow's sample, by the outcome of their copies.",
            tag_keys=_COPY_LABELS,
        )
        self._counted_copies: Counter[str] = Counter()
        self._shadow_share = metrics.Gauge(
            "serve_app_shadow_share",
            "Share of a shadow's sample that the governor admits, 0 to 1.",
        )
        self._effective_weight = metrics.Gauge(
            "serve_app_effective_weight", "The candidate's present share of units, 0 to 1."
        )
        self._rule = metrics.Gauge(
            "serve_app_rule",
            "1 for the rule in force, 0 for the previous one.",
            tag_keys=_RULE_LABELS,
        )
        self._rule_labels: dict[str, str] = {}
        self._candidate = metrics.Gauge(
            "serve_app_candidate",
            "0 or 1, by state: the rule has a candidate, it was ready once, its breaker is closed.",
            tag_keys=("state",),
        )
        self._rejected = metrics.Gauge(
            "serve_app_rule_rejected", "1 while the latest rule is rejected, else 0."
        )

    def record_trace(self, trace: Trace) -> None:
        """Add a trace; if `MAX_TRACES` are waiting, it is dropped and counted."""
        if len(self._traces) < MAX_TRACES:
            self._traces.append(trace)
        else:
            self._dropped_traces += 1

    async def run(self, plane: DataPlane) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            try:
                self.write(plane)
            except Exception:
                logger.exception("telemetry.failed")

    def write(self, plane: DataPlane) -> None:
        """Write the traces since the last call, and the present state."""
        traces, self._traces = self._traces, deque()
        request_counts: Counter[tuple[str, ...]] = Counter()
        for trace in traces:
            labels = {key: getattr(trace, key) or "" for key in _LABELS}
            request_counts[trace.route, str(trace.status), trace.error or "", *labels.values()] += 1
            if trace.model_ms is not None:
                self._latency_ms.observe(trace.latency_ms, labels)
                self._model_ms.observe(trace.model_ms, {"served": labels["served"]})
        log_lines(logger, "request.completed", (trace.fields() for trace in traces))
        for values, count in request_counts.items():
            self._requests.inc(count, dict(zip(_REQUEST_LABELS, values, strict=True)))
        for state in RECORD_STATES:
            self._exposures.set(getattr(self._recorder, state), {"state": state})
            self._pairs.set(getattr(self._recorder.pairs, state), {"state": state})
            self._kept_images.set(getattr(self._recorder.kept, state), {"state": state})
        for outcome, count in plane.mirror.outcome_counts.items():
            if new := count - self._counted_copies[outcome]:
                self._copies.inc(new, {"outcome": outcome})
                self._counted_copies[outcome] = count
        self._shadow_share.set(plane.mirror.governor.share)
        self._effective_weight.set(plane.effective_weight if plane.has_rule else 0.0)
        if plane.has_rule:
            self._write_rule(plane.rule)
            has_candidate = plane.rule.candidate is not None
            for state, is_true in zip(
                CANDIDATE_STATES,
                (has_candidate, plane.breaker.ready, plane.breaker.is_closed),
                strict=True,
            ):
                self._candidate.set(int(is_true), {"state": state})
        self._rejected.set(int(plane.rejected_config is not None))
        if self._dropped_traces:
            logger.warning("request_log.dropped", extra={"requests": self._dropped_traces})
            self._dropped_traces = 0
        flush_serve_log()

    def _write_rule(self, rule: Rule) -> None:
        values = (rule.kind, rule.rule_id, rule.stable, rule.candidate or "")
        labels = dict(zip(_RULE_LABELS, values, strict=True))
        if self._rule_labels not in ({}, labels):
            self._rule.set(0, self._rule_labels)
        self._rule_labels = labels
        self._rule.set(1, labels)
