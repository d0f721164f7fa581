"""Placeholders for a missing id: what clients send if they do not know the user or the session."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

ILLEGAL_IDS = (
    "undefined",
    "null",
    "none",
    "nil",
    "nan",
    "n/a",
    "na",
    "infinity",
    "[object Object]",
    "true",
    "false",
    "0",
    "-1",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "unknown",
    "unset",
    "not set",
    "missing",
    "empty",
    "anon",
    "anonymous",
    "anonymous user",
    "guest",
    "guest user",
    "not authenticated",
    "unauthenticated",
    "not logged in",
    "logged out",
    "id",
    "user id",
    "session id",
    "distinct id",
    "email",
)
MAX_KEPT_CODE = 0x3000  # clients choose the characters, so the table must stay small
_NEGATIVE = re.compile(r"[\W_]*-(?=\d+[\W_]*$)")


class IllegalIds:
    """A set of illegal ids.

    Ids are compared without case, blanks, control characters and punctuation: `"null"`, `(null)`
    and `NULL` are the same. An id of several illegal words is illegal (`undefined-null`), as is one
    without any word (`""`, `{}`). A run of zeros counts as one.
    """

    def __init__(self, ids: Iterable[str] = ILLEGAL_IDS) -> None:
        self._keys = {"", *("".join(_words(name)) for name in ids)}

    def __contains__(self, name: str) -> bool:
        words = _words(name)
        return "".join(words) in self._keys or all(word in self._keys for word in words)


class _Blanks(dict[int, str]):
    """A table for `str.translate` that replaces all but letters, digits and pictures by blanks."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        is_symbol = character.isascii() and not character.isalnum()
        is_blank = is_symbol or unicodedata.category(character)[0] in "PZC"
        found = " " if is_blank else character
        if code < MAX_KEPT_CODE:
            self[code] = found
        return found


_BLANKS = _Blanks()


def _words(name: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", name).casefold()
    words = ["0" if not word.strip("0") else word for word in folded.translate(_BLANKS).split()]
    if "-" in folded and _NEGATIVE.match(folded) and words != ["0"]:
        words[0] = f"-{words[0]}"
    return words
