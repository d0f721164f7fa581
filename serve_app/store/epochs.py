"""Epochs: contiguous periods with one rule, derived from the adoptions of the ingress processes.

Adoptions arrive late and out of order: several processes adopt a rule within milliseconds, and a
spool may hold those of yesterday. Each adoption is inserted at its own time. Epochs are numbered in
the order in which the store learns of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update

from serve_app.durations import duration_ms
from serve_app.errors import BadConfig
from serve_app.recording.batch import Adoption
from serve_app.recording.records import Exposure, KeptImage, ShadowPair
from serve_app.rules.parse import read_rule
from serve_app.rules.shadow import default_experiment
from serve_app.rules.split import Split
from serve_app.store import schema

_epochs = schema.epochs.c
_adoptions = schema.adoptions.c


@dataclass(frozen=True)
class Epoch:
    """A period with one rule.

    Attributes:
        number: From 1.
        rule: Canonical JSON.
        kind: The kind of the rule.
        started_at_ms: The first adoption of the rule, milliseconds since 1970 UTC.
        ended_at_ms: The first adoption of the next rule; None for the present epoch.
    """

    number: int
    rule_id: str
    rule: str
    kind: str
    started_at_ms: int
    ended_at_ms: int | None

    @cached_property
    def content(self) -> dict[str, Any]:
        """The rule with the keys of the YAML and all defaults."""
        content: dict[str, Any] = json.loads(self.rule)
        return content

    @property
    def experiment(self) -> str | None:
        """The experiment's name; None if the rule compares no versions."""
        if self.kind == "shadow" and "experiment" not in self.content:  # before shadows had names
            return default_experiment(self.content)
        return self.content.get("experiment")

    @property
    def unit(self) -> str | None:
        """The unit of assignment, `user`, `session` or `request`; None if the rule splits
        nothing."""
        return self.content.get("unit")


@dataclass(frozen=True, slots=True)
class EpochSplit:
    """How a rule splits traffic.

    Attributes:
        experiment: Its name, which salts the buckets; empty if the rule splits nothing.
        digest: See `serve_app.rules.rule.ExperimentTerms`; empty if the rule splits nothing.
        unit: `user` or `session`; None if the unit is the request or the rule splits nothing.
        settle_ms: The age at which a unit counts.
        window_ms: Time after a prediction in which its feedback counts; None for no limit.
    """

    experiment: str
    digest: str
    unit: str | None
    settle_ms: int
    window_ms: int | None


NO_SPLIT = EpochSplit("", "", None, 0, None)


class Timeline:
    """The epochs of some rules."""

    def __init__(self, connection: Connection, rule_ids: Collection[str]) -> None:
        self._newest_first: dict[str, list[tuple[int, int]]] = {}
        self._splits: dict[str, EpochSplit] = {}
        rows = connection.execute(
            select(_epochs.rule_id, _epochs.rule, _epochs.started_at_ms, _epochs.number)
            .where(_epochs.rule_id.in_(rule_ids))
            .order_by(_epochs.started_at_ms.desc(), _epochs.number.desc())
        )
        for rule_id, rule, started_at_ms, number in rows:
            self._newest_first.setdefault(rule_id, []).append((started_at_ms, number))
            self._splits.setdefault(rule_id, _parse_split(rule))

    def epoch(self, entry: Exposure | ShadowPair | KeptImage) -> int | None:
        """The latest epoch of the entry's rule that started at or before the entry's time.

        If the entry is older than all of them (the clock of its writer is behind), the first epoch
        of the rule. None if no adoption of the rule is recorded.
        """
        periods = self._newest_first.get(entry.rule_id)
        if periods is None:
            return None
        started = (number for started_at_ms, number in periods if started_at_ms <= entry.at_ms)
        return next(started, periods[-1][1])

    def split(self, rule_id: str) -> EpochSplit:
        """The split of a rule; `NO_SPLIT` if no adoption of it is recorded."""
        return self._splits.get(rule_id, NO_SPLIT)


def record_adoption(connection: Connection, writer: str, adoption: Adoption) -> None:
    """Record that a writer adopted a rule, and update the epochs. Idempotent."""
    if _is_recorded(connection, writer, adoption):
        return
    connection.execute(
        insert(schema.adoptions).values(
            writer=writer, at_ms=adoption.at_ms, rule_id=adoption.rule_id
        )
    )
    before = connection.execute(
        select(_epochs.number, _epochs.rule_id)
        .where(_epochs.started_at_ms <= adoption.at_ms)
        .order_by(_epochs.started_at_ms.desc(), _epochs.number.desc())
    ).first()
    if before and before.rule_id == adoption.rule_id:
        return
    after = connection.execute(
        select(_epochs.number, _epochs.rule_id, _epochs.started_at_ms)
        .where(_epochs.started_at_ms > adoption.at_ms)
        .order_by(_epochs.started_at_ms, _epochs.number)
    ).first()
    if before:
        _update_epoch(connection, before.number, ended_at_ms=adoption.at_ms)
    if after and after.rule_id == adoption.rule_id:
        _update_epoch(connection, after.number, started_at_ms=adoption.at_ms)
    else:
        _insert_epoch(connection, adoption, ended_at_ms=after.started_at_ms if after else None)


def epochs_between(
    connection: Connection, since_ms: int | None, until_ms: int | None
) -> list[Epoch]:
    """The epochs that overlap a period, oldest first."""
    query = select(schema.epochs).order_by(_epochs.started_at_ms, _epochs.number)
    if since_ms is not None:
        query = query.where(or_(_epochs.ended_at_ms.is_(None), _epochs.ended_at_ms > since_ms))
    if until_ms is not None:
        query = query.where(_epochs.started_at_ms < until_ms)
    return [Epoch(**row) for row in connection.execute(query).mappings()]


def latest(connection: Connection, limit: int) -> list[Epoch]:
    """The latest epochs, newest first."""
    rows = connection.execute(
        select(schema.epochs)
        .order_by(_epochs.started_at_ms.desc(), _epochs.number.desc())
        .limit(limit)
    )
    return [Epoch(**row) for row in rows.mappings()]


@lru_cache(maxsize=16)  # parsed for each batch
def _parse_split(rule: str) -> EpochSplit:
    content = json.loads(rule)
    try:
        split = read_rule(content)
    except BadConfig:  # of a strategy that was removed
        return NO_SPLIT
    if not isinstance(split, Split):
        return NO_SPLIT
    outcome = content.get("outcome")
    return EpochSplit(
        split.experiment,
        split.experiment_terms.digest,
        split.unit if split.unit in ("user", "session") else None,
        split.settle_ms,
        duration_ms(outcome["window"]) if outcome else None,
    )


def _is_recorded(connection: Connection, writer: str, adoption: Adoption) -> bool:
    return (
        connection.scalar(
            select(_adoptions.at_ms).where(
                _adoptions.writer == writer,
                _adoptions.at_ms == adoption.at_ms,
                _adoptions.rule_id == adoption.rule_id,
            )
        )
        is not None
    )


def _update_epoch(connection: Connection, number: int, **times: int) -> None:
    connection.execute(update(schema.epochs).where(_epochs.number == number).values(**times))


def _insert_epoch(connection: Connection, adoption: Adoption, ended_at_ms: int | None) -> None:
    highest = connection.scalar(select(func.max(_epochs.number))) or 0
    connection.execute(
        insert(schema.epochs).values(
            number=highest + 1,
            rule_id=adoption.rule_id,
            rule=adoption.rule,
            kind=json.loads(adoption.rule)["kind"],
            started_at_ms=adoption.at_ms,
            ended_at_ms=ended_at_ms,
        )
    )
