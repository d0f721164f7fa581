"""Which version do users prefer? An A/B test, by what the assigned units said."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from serve_app.domain import Reason
from serve_app.evidence.confidence import ALPHA, bonferroni
from serve_app.evidence.outcome import FeedbackRows, Metric, window_s
from serve_app.evidence.preference import (
    Line,
    Preference,
    judge,
    measure,
    prefer,
    prefer_overall,
    responders_measure,
)
from serve_app.evidence.srm import SrmCounts, check, check_slices
from serve_app.evidence.units import Ints
from serve_app.evidence.units import Labels as Texts
from serve_app.reports import experiment, to_json
from serve_app.reports.experiment import Experiment, Labels
from serve_app.reports.participants import Participants, Units, trial
from serve_app.reports.period import Period
from serve_app.rules.ab_test import ABTest
from serve_app.store.labelled_feedback import LabelledFeedback
from serve_app.store.store import Store

KINDS = ("ab_test",)


def report(store: Store, period: Period, labels: Labels, name: str | None) -> dict[str, Any]:
    """What the units of both arms said, and what that means.

    Args:
        labels: Those that a version knows.
        name: The experiment's; None for the newest A/B test.

    Raises:
        NothingToReport: There was no A/B test.
    """
    found = experiment.find(store, KINDS, period, name)
    rule = found.rule
    assert isinstance(rule, ABTest)  # noqa: S101 by KINDS
    outcome = rule.outcome
    slices = experiment.srm_counts(store, found, period)
    srm = check(experiment.together(slices))
    control, treatment = set(labels(found.control)), set(labels(found.treatment))

    scope = period.scope(found.numbers)
    if found.unit != "request":
        scope = replace(scope, regions=None)  # a unit is where it was assigned, wherever it speaks
    labelled_feedback = store.labelled_feedback(scope)
    labelled_feedback = labelled_feedback.only(labelled_feedback.reason.equals(Reason.SPLIT))
    test = trial(store, found, period, labelled_feedback)
    words = _words(labelled_feedback, test)
    timely = words.within(window_s(outcome.window))
    preference = prefer(test.units.assigned(), timely, outcome.metric, treatment - control)
    what = measure(outcome.metric, outcome.direction, outcome.min_effect)
    verdict = judge(preference, what, srm)
    overall = preference.overall
    return {
        "report": "ab",
        "period": period.content(),
        **found.content(),
        "whole": experiment.is_whole(store, found, period),
        "outcome": outcome.model_dump(),
        **to_json.decided(verdict.verdict),
        "srm": to_json.mismatch(srm),
        "srm_by_region": {r: to_json.mismatch(one) for r, one in check_slices(slices).items()},
        "labels": {"shared": sorted(control & treatment), "new": sorted(treatment - control)},
        "overall": to_json.measured(
            what,
            overall.told,
            srm,
            overall.interval,
            powered=outcome.metric != "rating",  # of ratings the silent decide how wide it is
        ),
        "shared_labels": _line(preference.shared),
        "new_labels": _line(preference.new),
        "truth_not_told": _line(preference.untold),
        "regions": [
            {"region": region or None, **line}
            for region, line in _slices(test.units, test.units.region, timely, outcome.metric)
        ],
        "by_epoch": [
            {"epoch": epoch, "weight": found.weights[epoch], **line}
            for epoch, line in _slices(test.units, test.units.epoch, timely, outcome.metric)
        ],
        "responders": _responders(preference),
        "feedback_srm": to_json.mismatch(_feedback_srm(found, test, timely)),
        "feedback": {
            "words": len(words.unit),
            "too_late": len(words.unit) - len(timely.unit),
            "of_others": int((~test.heard).sum()),
        },
        "hijack_rate": _hijack_rate(
            labelled_feedback.only(test.heard),
            found.treatment,
            control & treatment,
            treatment - control,
        ),
    }


def _slices(
    units: Units, by: Ints | Texts, words: FeedbackRows, metric: Metric
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """All events in slices of the units, for diagnosis: all intervals hold together.

    Args:
        by: [n], the slice of each unit.
    """
    names = np.unique(by)
    for name in names:
        here = units.only(by == name)
        line = prefer_overall(
            here.assigned(), words.of(here.unit), metric, bonferroni(ALPHA, len(names))
        )
        yield name.item(), to_json.compared(line.told, line.interval)


def _words(labelled_feedback: LabelledFeedback, test: Participants) -> FeedbackRows:
    """What assigned units said."""
    labelled_feedback, unit = labelled_feedback.only(test.heard), test.speaker[test.heard]
    return FeedbackRows(
        unit=unit,
        answered=labelled_feedback.answered.texts(),
        label=labelled_feedback.told.texts(),
        correct=np.where(labelled_feedback.correct < 0, np.nan, labelled_feedback.correct),
        complaint=np.where(labelled_feedback.complaint < 0, np.nan, labelled_feedback.complaint),
        rating=np.where(labelled_feedback.rating == 0, np.nan, labelled_feedback.rating),
        delay_s=(labelled_feedback.told_at_ms - labelled_feedback.at_ms) / 1000,
    )


def _line(line: Line | None) -> dict[str, Any] | None:
    return to_json.compared(line.told, line.interval) if line else None


def _responders(preference: Preference) -> dict[str, Any]:
    """Secondary: those who spoke chose to."""
    found = preference.responders
    return {
        "coverage": {
            "control": to_json.number(found.coverage.control),
            "treatment": to_json.number(found.coverage.treatment),
        },
        "measure": responders_measure(preference.metric),
        "among": to_json.compared(found.among, found.among_interval),
        "worst_case": to_json.bounds(found.interval),
    }


def _feedback_srm(found: Experiment, test: Participants, words: FeedbackRows) -> Any:
    """Whether words come back at one rate from both arms."""
    spoke = np.isin(test.units.unit, words.unit)
    counts = []
    for number, weight in found.weights.items():
        here = spoke & (test.units.epoch == number)
        treatment = int((here & test.units.treated).sum())
        counts.append(SrmCounts(number, int(here.sum()) - treatment, treatment, weight))
    return check(counts)


def _hijack_rate(
    labelled_feedback: LabelledFeedback,
    treatment: str,
    shared: Collection[str],
    new: Collection[str],
) -> dict[str, Any]:
    """Of the answers with a new label whose truth was told, those that showed what both know.

    No interval: users speak of several answers, and those who complain speak more. "Not correct"
    tells the truth of the only new label: it is none, if not of what else.
    """
    told = labelled_feedback.told.texts()
    denied = (told == "") & (labelled_feedback.correct == 0) & (len(new) == 1)
    known = (
        np.isin(told, [*shared, *new]) | (told == "") & (labelled_feedback.correct == 1) | denied
    )
    known &= labelled_feedback.assigned.equals(treatment) & np.isin(
        labelled_feedback.answered.texts(), list(new)
    )
    hijacked = known & (denied | np.isin(told, list(shared)))
    answers = int(known.sum())
    return {"estimate": int(hijacked.sum()) / answers if answers else None, "answers": answers}
