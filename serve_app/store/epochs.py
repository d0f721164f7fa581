"""Epochs: contiguous periods of one rule, as the writers' adoptions tell.

Adoptions arrive late and out of order: several writers adopt the same rule within milliseconds,
and a spool may hold yesterday's. Each is put where its time belongs, not at the end. Numbers
follow the order in which the store learns of the epochs.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update

from serve_app.domain import Exposure, KeptImage, ShadowPair
from serve_app.evidence.outcome import window_s
from serve_app.recording.batch import Adoption
from serve_app.store import schema

_epochs = schema.epochs.c
_adoptions = schema.adoptions.c


@dataclass(frozen=True)
class Epoch:
    """A period of one rule.

    Attributes:
        number: From 1.
        rule: Canonical JSON.
        kind: The rule's.
        started_at_ms: When the first writer adopted the rule, milliseconds since 1970 UTC.
        ended_at_ms: When the first writer adopted the next one; None while this one lasts.
    """

    number: int
    rule_id: str
    rule: str
    kind: str
    started_at_ms: int
    ended_at_ms: int | None

    @cached_property
    def content(self) -> dict[str, Any]:
        """The rule, as in the YAML, defaults filled in."""
        content: dict[str, Any] = json.loads(self.rule)
        return content

    @property
    def experiment(self) -> str | None:
        """Its name, if the rule splits units."""
        return self.content.get("experiment")

    @property
    def unit(self) -> str | None:
        """Whom the rule assigns: `user`, `session` or `request`; None if it splits nothing."""
        return self.content.get("unit")


@dataclass(frozen=True, slots=True)
class EpochSplit:
    """Whom a rule assigns.

    Attributes:
        experiment: Its name; None if the rule splits nothing.
        unit: `user` or `session`; None if it assigns no one for longer than a request.
        window_ms: How long after an answer its feedback counts; None for ever.
    """

    experiment: str | None
    unit: str | None
    window_ms: int | None


NO_SPLIT = EpochSplit(None, None, None)


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
            self._splits.setdefault(rule_id, _split(rule))

    def epoch(self, entry: Exposure | ShadowPair | KeptImage) -> int | None:
        """The latest epoch of its rule that had begun at its time.

        The rule's first epoch, if the clock of the writer was behind that of another; None if
        nobody is known to have adopted the rule.
        """
        periods = self._newest_first.get(entry.rule_id)
        if periods is None:
            return None
        begun = (number for started_at_ms, number in periods if started_at_ms <= entry.at_ms)
        return next(begun, periods[-1][1])

    def split(self, rule_id: str) -> EpochSplit:
        """Whom a rule assigns; nobody, if no adoption of it is known."""
        return self._splits.get(rule_id, NO_SPLIT)


def adopt(connection: Connection, writer: str, adoption: Adoption) -> None:
    """Note that a writer obeys a rule since a time; the same again changes nothing."""
    if _is_known(connection, writer, adoption):
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
        _change(connection, before.number, ended_at_ms=adoption.at_ms)
    if after and after.rule_id == adoption.rule_id:
        _change(connection, after.number, started_at_ms=adoption.at_ms)
    else:
        _open(connection, adoption, ended_at_ms=after.started_at_ms if after else None)


def within(connection: Connection, since_ms: int | None, until_ms: int | None) -> list[Epoch]:
    """Those that lasted at any time of a period, by the time at which they started."""
    query = select(schema.epochs).order_by(_epochs.started_at_ms, _epochs.number)
    if since_ms is not None:
        query = query.where(or_(_epochs.ended_at_ms.is_(None), _epochs.ended_at_ms > since_ms))
    if until_ms is not None:
        query = query.where(_epochs.started_at_ms < until_ms)
    return [Epoch(**row) for row in connection.execute(query).mappings()]


def of(connection: Connection, experiment: str) -> list[int]:
    """The numbers of an experiment's epochs."""
    return [e.number for e in within(connection, None, None) if e.experiment == experiment]


def latest(connection: Connection, limit: int) -> list[Epoch]:
    """The newest first."""
    rows = connection.execute(
        select(schema.epochs)
        .order_by(_epochs.started_at_ms.desc(), _epochs.number.desc())
        .limit(limit)
    )
    return [Epoch(**row) for row in rows.mappings()]


def _split(rule: str) -> EpochSplit:
    content = json.loads(rule)
    unit, outcome = content.get("unit"), content.get("outcome")
    return EpochSplit(
        content.get("experiment"),
        unit if unit in ("user", "session") else None,
        1000 * window_s(outcome["window"]) if outcome else None,
    )


def _is_known(connection: Connection, writer: str, adoption: Adoption) -> bool:
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


def _change(connection: Connection, number: int, **times: int) -> None:
    connection.execute(update(schema.epochs).where(_epochs.number == number).values(**times))


def _open(connection: Connection, adoption: Adoption, ended_at_ms: int | None) -> None:
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
