"""Finds the label that people mean, however they write it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache


class KnownLabels:
    """The labels of some versions.

    Labels are compared without case, outer and repeated blanks, and compatibility forms of Unicode
    (NFKC). Of two labels that differ by these alone, the first one is found.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        self._by_key: dict[str, str] = {}
        for label in labels:
            self._by_key.setdefault(_key(label), label)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._by_key.values()))

    def find(self, told: str) -> str | None:
        """The label as its version writes it; None if no version has it."""
        return self._by_key.get(_key(told))


@lru_cache(4096)
def _key(label: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    return " ".join(folded.split())
