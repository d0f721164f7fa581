"""Large query results as NumPy columns.

The database concatenates each column into one text. That is several times faster than a Python
tuple for each row, which must be allocated and tracked by the garbage collector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, String, cast, func, select

ROW_SEPARATOR, COLUMN_SEPARATOR = "\x1e", "\x1f"  # ASCII's record and unit separators


@dataclass(frozen=True, slots=True)
class Categorical:
    """A text column, encoded: row i has the text `categories[codes[i]]`.

    Attributes:
        codes: int32 [n].
        categories: Distinct texts.
    """

    codes: NDArray[np.int32]
    categories: tuple[str, ...]

    def __getitem__(self, rows: NDArray[Any]) -> Categorical:
        """The rows at these indices, or the rows where a boolean mask is True."""
        return Categorical(self.codes[rows], self.categories)

    def equals(self, text: str) -> NDArray[np.bool_]:
        """[n], whether each row has this text."""
        return np.array([one == text for one in self.categories], np.bool_)[self.codes]

    def texts(self) -> NDArray[np.str_]:
        """The decoded column, str [n]."""
        return np.array(self.categories or ("",), np.str_)[self.codes]


class Columns:
    """The result of a query that has no nulls, and no control characters in texts."""

    def __init__(
        self, connection: Connection, query: Select[Any], categorical: Sequence[str]
    ) -> None:
        """Run the query.

        Args:
            categorical: The text columns, and numeric columns with few distinct values. Their
                values in a row are fetched as one text, and each distinct text is parsed once.
                All other columns are numeric, or texts with many distinct values.
        """
        table = query.subquery()
        texts: list[ColumnElement[str]] = [cast(table.c[name], String) for name in categorical]
        combined = reduce(lambda left, right: left + COLUMN_SEPARATOR + right, texts)
        others = [
            name
            for name in table.c.keys()  # noqa: SIM118 no mapping
            if name not in categorical
        ]
        expressions = (combined, *(cast(table.c[name], String) for name in others))
        joined = [func.aggregate_strings(text, ROW_SEPARATOR) for text in expressions]
        rows, *joined_others = connection.execute(select(*joined)).one()
        encoded = _encode(_split(rows))
        self._codes = encoded.codes
        parts = zip(*(text.split(COLUMN_SEPARATOR) for text in encoded.categories), strict=True)
        empty = ((),) * len(categorical)
        self._categorical = dict(
            zip(categorical, parts if encoded.categories else empty, strict=True)
        )
        self._joined: dict[str, str | None] = dict(zip(others, joined_others, strict=True))

    def numbers(self, name: str, kind: type[np.generic]) -> NDArray[Any]:
        """A numeric column."""
        if name in self._categorical:
            return np.array(self._categorical[name], np.int64).astype(kind)[self._codes]
        return np.fromstring(self._joined[name] or "", kind, sep=ROW_SEPARATOR)

    def categorical(self, name: str) -> Categorical:
        """A text column."""
        if name in self._joined:
            return _encode(_split(self._joined[name]))
        column = _encode(self._categorical[name])
        return Categorical(column.codes[self._codes], column.categories)


def _split(joined: str | None) -> list[str]:
    return [] if joined is None else joined.split(ROW_SEPARATOR)


def _encode(texts: Sequence[str]) -> Categorical:
    categories = tuple(dict.fromkeys(texts))
    code = {text: number for number, text in enumerate(categories)}
    return Categorical(np.fromiter(map(code.__getitem__, texts), np.int32, len(texts)), categories)
