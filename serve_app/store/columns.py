"""Large results, a column at a time.

The database joins each column to one text: that is several times faster than a tuple for each row,
which Python would make, count and throw away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, String, cast, func, select

BETWEEN_ROWS, BETWEEN_COLUMNS = "\x1e", "\x1f"  # ASCII's separators of records and units


@dataclass(frozen=True, slots=True)
class Categorical:
    """A column of texts: the i-th is `names[codes[i]]`."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    def __getitem__(self, rows: NDArray[Any]) -> Categorical:
        """The column of these rows, or of those that are True."""
        return Categorical(self.codes[rows], self.names)

    def equals(self, name: str) -> NDArray[np.bool_]:
        """Which rows have this text."""
        return np.array([one == name for one in self.names], np.bool_)[self.codes]

    def texts(self) -> NDArray[np.str_]:
        """The column as it is."""
        return np.array(self.names or ("",), np.str_)[self.codes]


class Rows:
    """Rows as columns of equal length; a dataclass of arrays and `Categorical`."""

    __slots__: tuple[str, ...] = ()

    def only(self, rows: NDArray[Any]) -> Self:
        """These rows, or those that are True."""
        return type(self)(**{name: getattr(self, name)[rows] for name in self.__slots__})


class Columns:
    """The result of a query in which nothing is null and no text has control characters."""

    def __init__(self, connection: Connection, query: Select[Any], few: Sequence[str]) -> None:
        """Run the query.

        Args:
            few: Columns of few different values. They travel as one: what they say together is
                taken apart once, and not for every row. All the others are numbers.
        """
        table = query.subquery()
        texts: list[ColumnElement[str]] = [cast(table.c[name], String) for name in few]
        together = reduce(lambda left, right: left + BETWEEN_COLUMNS + right, texts)
        many = [name for name in table.c.keys() if name not in few]  # noqa: SIM118 no mapping
        wanted = (together, *(cast(table.c[name], String) for name in many))
        joined = [func.aggregate_strings(text, BETWEEN_ROWS) for text in wanted]
        rows, *numbers = connection.execute(select(*joined)).one()
        said = _coded([] if rows is None else rows.split(BETWEEN_ROWS))
        self._codes = said.codes
        parts = zip(*(one.split(BETWEEN_COLUMNS) for one in said.names), strict=True)
        self._few = dict(zip(few, parts if said.names else ((),) * len(few), strict=True))
        self._many: dict[str, str | None] = dict(zip(many, numbers, strict=True))

    def numbers(self, name: str, kind: type[np.generic]) -> NDArray[Any]:
        """A column of numbers."""
        if name in self._few:
            return np.array(self._few[name], np.int64).astype(kind)[self._codes]
        return np.fromstring(self._many[name] or "", kind, sep=BETWEEN_ROWS)

    def coded(self, name: str) -> Categorical:
        """A column of texts."""
        column = _coded(self._few[name])
        return Categorical(column.codes[self._codes], column.names)


def _coded(texts: Sequence[str]) -> Categorical:
    names = tuple(dict.fromkeys(texts))
    code = {name: number for number, name in enumerate(names)}
    return Categorical(np.fromiter(map(code.__getitem__, texts), np.int32, len(texts)), names)
