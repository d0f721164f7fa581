"""Which version do users prefer? An A/B test, by what the assigned units said."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from serve_app.clock import HOUR_MS
from serve_app.domain import Reason
from serve_app.evidence.confidence import ALPHA, bonferroni
from serve_app.evidence.outcome import Assigned, Metric, Words, window_s
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
from serve_app.evidence.units import Flags, Floats, Ints, strata
from serve_app.evidence.units import Labels as Texts
from serve_app.reports import experiment, figures
from serve_app.reports.experiment import Experiment, Labels
from serve_app.reports.period import Period
from serve_app.rules.ab_test import ABTest
from serve_app.store.judged import Judged
from serve_app.store.store import Store

KINDS = ("ab_test",)


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """Each where it was assigned first; a row may be several that said nothing.

    Attributes:
        unit, epoch, hour: int64 [n].
        region: str [n], empty for none.
        treated: bool [n].
        count: float64 [n], how many the row stands for.
    """

    unit: Ints
    epoch: Ints
    hour: Ints
    region: Texts
    treated: Flags
    count: Floats

    def assigned(self) -> Assigned:
        """Ready to be compared."""
        stratum = strata(self.epoch, self.hour, self.treated, count=self.count)
        return Assigned(self.unit, stratum, self.treated, self.count)

    def only(self, rows: Flags) -> _Units:
        """Those of some rows."""
        return _Units(
            self.unit[rows],
            self.epoch[rows],
            self.hour[rows],
            self.region[rows],
            self.treated[rows],
            self.count[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Test:
    """Who was assigned what, and whose words there are.

    Attributes:
        speaker: int64 [m], the unit of each judged answer.
        heard: bool [m], whether that unit was assigned in the period, and that under the weight
            under which it was answered.
    """

    units: _Units
    speaker: Ints
    heard: Flags


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
    judged = store.judged(scope)
    judged = judged.only(judged.reason.equals(Reason.SPLIT))
    test = (_requests if found.unit == "request" else _units)(store, found, period, judged)
    words = _words(judged, test)
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
        **figures.decided(verdict.verdict),
        "srm": figures.mismatch(srm),
        "srm_by_region": {r: figures.mismatch(one) for r, one in check_slices(slices).items()},
        "labels": {"shared": sorted(control & treatment), "new": sorted(treatment - control)},
        "overall": figures.measured(
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
        "feedback_srm": figures.mismatch(_feedback_srm(found, test, timely)),
        "feedback": {
            "words": len(words.unit),
            "too_late": len(words.unit) - len(timely.unit),
            "of_others": int((~test.heard).sum()),
        },
        "hijack_rate": _hijack_rate(
            judged.only(test.heard), found.treatment, control & treatment, treatment - control
        ),
    }


def _units(store: Store, found: Experiment, period: Period, judged: Judged) -> _Test:
    """Users or sessions, each where it was assigned first."""
    firsts = store.assignments(found.name, period.scope(found.numbers))
    treated = firsts.version.equals(found.treatment)
    ours = treated | firsts.version.equals(found.control)
    unit, epoch = firsts.unit[ours], firsts.epoch[ours].astype(np.int64)
    units = _Units(
        unit,
        epoch,
        firsts.at_ms[ours] // HOUR_MS,
        firsts.region.texts()[ours],
        treated[ours],
        np.ones(len(unit)),
    )
    heard = np.isin(judged.unit, unit)
    # A unit may change sides when the weight does: from then on it speaks for neither.
    first = epoch[np.searchsorted(unit, judged.unit[heard])]
    heard[heard] = _weight(found, judged.epoch[heard]) == _weight(found, first)
    return _Test(units, judged.unit, heard)


def _weight(found: Experiment, epoch: Ints) -> Floats:
    """[n]: the share that treatment was to get in some epochs."""
    numbers = sorted(found.weights)
    weights = np.array([found.weights[number] for number in numbers])
    return np.asarray(weights[np.searchsorted(numbers, epoch)])


def _requests(store: Store, found: Experiment, period: Period, judged: Judged) -> _Test:
    """Every exposure a unit of its own. Those on which nothing was said are one row for each
    epoch, hour, region and arm."""
    sums = [
        one
        for one in store.exposure_sums(
            period.scope(found.numbers),
            by=("epoch", "assigned", "region", "reason"),
            slot_ms=HOUR_MS,
        )
        if one.reason == Reason.SPLIT and one.assigned in (found.control, found.treatment)
    ]
    names, region = np.unique([one.region or "" for one in sums], return_inverse=True)
    cells = [
        (one.epoch or 0, (one.at_ms or 0) // HOUR_MS, one.assigned == found.treatment)
        for one in sums
    ]
    epoch, hour, arm = np.array(cells, np.int64).reshape(-1, 3).T.copy()
    exposures = np.array([one.exposures for one in sums], np.int64)

    treats = judged.assigned.equals(found.treatment)
    ours = treats | judged.assigned.equals(found.control)
    place = {name: number for number, name in enumerate(names.tolist())}
    told = np.array([place.get(name, -1) for name in judged.region.names], np.int64)
    spoken_in = told[judged.region.codes]
    cell = _code(epoch, hour, arm, region)
    spoken = _code(judged.epoch.astype(np.int64), judged.at_ms // HOUR_MS, treats, spoken_in)
    heard = ours & (spoken_in >= 0) & np.isin(spoken, cell)
    order = np.argsort(cell)
    row = order[np.searchsorted(cell[order], spoken[heard])]  # of the cell
    silent = exposures - np.bincount(row, minlength=len(cell))

    every = np.concatenate([row, np.arange(len(cell))])
    units = _Units(
        np.arange(len(every)),
        epoch[every],
        hour[every],
        names[region[every]] if len(names) else np.array([], np.str_),
        arm[every].astype(np.bool_),
        np.concatenate([np.ones(len(row)), np.maximum(silent, 0)]),
    )
    speaker = np.full(len(heard), -1, np.int64)
    speaker[heard] = np.arange(len(row))
    return _Test(units, speaker, heard)


def _code(epoch: Ints, hour: Ints, treated: Ints | Flags, region: Ints) -> Ints:
    """One number for all four."""
    return ((epoch << 32 | hour) << 1 | treated) << 12 | region


def _slices(
    units: _Units, by: Ints | Texts, words: Words, metric: Metric
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
        yield name.item(), figures.compared(line.told, line.interval)


def _words(judged: Judged, test: _Test) -> Words:
    """What assigned units said."""
    judged, unit = judged.only(test.heard), test.speaker[test.heard]
    return Words(
        unit=unit,
        answered=judged.answered.texts(),
        label=judged.told.texts(),
        correct=np.where(judged.correct < 0, np.nan, judged.correct),
        complaint=np.where(judged.complaint < 0, np.nan, judged.complaint),
        rating=np.where(judged.rating == 0, np.nan, judged.rating),
        delay_s=(judged.told_at_ms - judged.at_ms) / 1000,
    )


def _line(line: Line | None) -> dict[str, Any] | None:
    return figures.compared(line.told, line.interval) if line else None


def _responders(preference: Preference) -> dict[str, Any]:
    """Secondary: those who spoke chose to."""
    found = preference.responders
    return {
        "coverage": {
            "control": figures.number(found.coverage.control),
            "treatment": figures.number(found.coverage.treatment),
        },
        "measure": responders_measure(preference.metric),
        "among": figures.compared(found.among, found.among_interval),
        "worst_case": figures.bounds(found.interval),
    }


def _feedback_srm(found: Experiment, test: _Test, words: Words) -> Any:
    """Whether words come back at one rate from both arms."""
    spoke = np.isin(test.units.unit, words.unit)
    counts = []
    for number, weight in found.weights.items():
        here = spoke & (test.units.epoch == number)
        treatment = int((here & test.units.treated).sum())
        counts.append(SrmCounts(number, int(here.sum()) - treatment, treatment, weight))
    return check(counts)


def _hijack_rate(
    judged: Judged, treatment: str, shared: Collection[str], new: Collection[str]
) -> dict[str, Any]:
    """Of the answers with a new label whose truth was told, those that showed what both know.

    No interval: users speak of several answers, and those who complain speak more. "Not correct"
    tells the truth of the only new label: it is none, if not of what else.
    """
    told = judged.told.texts()
    denied = (told == "") & (judged.correct == 0) & (len(new) == 1)
    known = np.isin(told, [*shared, *new]) | (told == "") & (judged.correct == 1) | denied
    known &= judged.assigned.equals(treatment) & np.isin(judged.answered.texts(), list(new))
    hijacked = known & (denied | np.isin(told, list(shared)))
    answers = int(known.sum())
    return {"estimate": int(hijacked.sum()) / answers if answers else None, "answers": answers}
