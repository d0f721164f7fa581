"""What the exported tables and their columns mean."""

from __future__ import annotations

# table -> what a row is
TABLES = {
    "exposures": "One image that was answered, or that failed. Deleted after 30 days.",
    "shadow_pairs": "The copy of one image for the candidate of a shadow. Deleted after 30 days.",
    "feedback": "A user's feedback on one prediction. Deleted after 30 days.",
    "labelled_feedback": (
        "An answer with feedback: columns of the exposure, and the feedback that counts: the last"
        " one within the window of the rule, or the last one if none is."
    ),
    "epochs": "A time with one rule in force. Other tables refer to it; exported whole.",
    "exposure_sums": "Counts and sums of exposures by minute.",
    "latency_sums": "Histograms of latencies by minute.",
    "unit_sums": "Counts and sums of the exposures of one unit of an experiment.",
    "first_assignments": "The first exposure of one unit of an experiment.",
    "pair_sums": "Counts and sums of shadow pairs by minute.",
    "unit_pair_sums": "Counts and sums of the shadow pairs of one unit by day; shed ones excluded.",
}


# `column`, or `table.column` where it means something else -> its meaning
COLUMNS = {
    "writer": "The ingress process that recorded it.",
    "sequence": (
        "The number that the writer gave it, from 1. With `writer`, it joins exposures, their"
        " shadow pairs and their feedback."
    ),
    "at_ms": "When the answer was ready.",
    "feedback.at_ms": "When the feedback arrived.",
    "labelled_feedback.at_ms": "When the answer was ready.",
    "first_assignments.at_ms": "When the first answer was ready.",
    "epoch": "The epoch, `number` in `epochs`; empty, or 0 in sums, if it is not known.",
    "request_id": "The `X-Request-Id` of the request.",
    "rule_id": "The rule: a digest of its content.",
    "rule": "The kind of the rule.",
    "epochs.rule": "The rule as JSON.",
    "kind": "The kind of the rule.",
    "latency_sums.kind": "`latency` of the answer, or `model` for the time of the network.",
    "reason": "Why the request was assigned its version; see the reasons in the concepts.",
    "assigned": "The version that the rule assigned.",
    "served": "The version that answered: stable if the assigned version failed.",
    "user": "A keyed hash of the user id.",
    "session": "A keyed hash of the session id.",
    "region": "The country, ISO 3166-1 alpha-2.",
    "label": "The predicted label.",
    "shadow_pairs.label": "The label that the candidate predicted.",
    "pair_sums.label": "The label that the candidate predicted.",
    "unit_pair_sums.label": "The label that the candidate predicted; empty if it failed.",
    "feedback.label": "The true label that the user told.",
    "unknown_label": "What the user told as the true label, if no version knows it.",
    "confidence": "The probability of the label, 0 to 1.",
    "latency_ms": "From the arrival of the request to the answer.",
    "shadow_pairs.latency_ms": "From the call of the candidate to its answer.",
    "first_assignments.latency_ms": "Of the first answer.",
    "model_ms": "The time of the network, for the whole batch that the image was in.",
    "error": "Why the assigned version failed; empty if it answered.",
    "shadow_pairs.error": "Why the candidate failed, or why the copy was shed; else empty.",
    "pair_sums.error": "Why the candidate failed, or why the copy was shed; else empty.",
    "candidate": "The version that got the copy.",
    "outcome": "`copied`, `failed`, or `shed`: not sent under load.",
    "probability": "The probability with which the image was copied, above 0 to 1.",
    "live_version": "The version that answered the user.",
    "live_label": "The label that it answered.",
    "live_model_ms": "Its `model_ms`.",
    "live_latency_ms": "Its `latency_ms`.",
    "unit": "A number for the unit: a hash of the keyed hash of its user or session; 0 for none.",
    "shadow_pairs.unit": "The `user` of the exposure, or else its `session`.",
    "answered_at_ms": "When the answer was ready.",
    "answered": "The label that was answered.",
    "correct": "Whether the user called the answer right.",
    "rating": "1 to 5.",
    "complaint": "Whether the user complained.",
    "predicted_label": "The label that was answered.",
    "reported_at_ms": "When that feedback arrived.",
    "reported_label": "The true label that the user told.",
    "number": "Counts the epochs from 1.",
    "started_at_ms": "When the rule came into force.",
    "ended_at_ms": "When the next rule came into force; empty for the present epoch.",
    "minute": "Minutes since 1970 UTC.",
    "day": "Days since 1970 UTC.",
    "from_ms": "The start of a slot: an eighth of the time in which a unit settles, or a second.",
    "served_as_assigned": "Whether the assigned version itself answered.",
    "exposures": "Their number.",
    "errors": "Exposures whose assigned version failed, fallbacks included.",
    "fallbacks": "Failures that stable answered.",
    "latency_ms_sum": "Of `latency_ms`.",
    "model_ms_sum": "Of `model_ms`.",
    "model_ms_count": "The exposures or pairs in `model_ms_sum`.",
    "confidence_sum": "Of `confidence`, over the exposures with a label.",
    "max_latency_ms": "The largest `latency_ms`.",
    "bucket": "The unit's number in this experiment, 0 to 1; below the weight: the new version.",
    "latency_sums.bucket": "b is from 0.1 ms · 1.05^b to 0.1 ms · 1.05^(b + 1); 0 has all below.",
    "experiment": "A digest of the terms of the experiment.",
    "version": "The version that was assigned.",
    "pairs": "The number of pairs.",
    "unit_pair_sums.pairs": "Pairs that were copied.",
    "latency_ms_count": "The pairs in `latency_ms_sum`.",
    "live_latency_ms_count": "The pairs in `live_latency_ms_sum`.",
    "live_latency_ms_sum": "Of `live_latency_ms`.",
    "compared": "Pairs with a label of both versions.",
    "agreed": "Pairs with the same label of both versions.",
    "failed": "Pairs whose candidate failed; not among `pairs`.",
    "live_model_ms_sum": "Of `live_model_ms`, over the pairs in `model_ms_count`.",
    "squared_difference_sum": "Of (`model_ms` - `live_model_ms`)², over the same pairs.",
}


def meaning(table: str, column: str) -> str:
    """What a column of a table means.

    Raises:
        KeyError: It is not described.
    """
    return COLUMNS.get(f"{table}.{column}") or COLUMNS[column]
