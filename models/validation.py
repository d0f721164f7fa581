"""Says what is wrong with a document, in words for users.

A finding says what was read, what was expected, and how to write it.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

MAX_FINDINGS = 10
MAX_CHARACTERS = 900  # of all findings together; a problem's detail has 1000
_MAX_QUOTED = 50

PATTERNS = {
    r"^v[0-9]+$": "v and a number, such as v2",
    r"^[0-9a-f]{64}$": "64 hex digits",
    r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$": "the name of a file",
    r"^[A-Za-z0-9][A-Za-z0-9 _-]*$": "a name of letters, digits, spaces, _ and -",
    r"^[a-z0-9][a-z0-9._-]*$": "a name of small letters, digits, '.', '_' and '-'",
    r"^[a-z0-9][a-z0-9-]*$": "a name of small letters, digits and '-'",
}
"""The patterns of texts in words."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of a document.

    Attributes:
        path: The keys from the root, with dots; empty for the whole document.
        message: What was read, what was expected, and how to write it.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path} {self.message}".lstrip()


class InvalidDocument(ValueError):
    """A text is not a document that all readers read alike."""

    def __init__(self, path: str, message: str, more: Sequence[Finding] = ()) -> None:
        super().__init__(path, message, more)
        self.findings = (Finding(path, message), *more)

    def __str__(self) -> str:
        return join_findings(self.findings)

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Self:
        """The error of at least one finding."""
        return cls(findings[0].path, findings[0].message, tuple(findings[1:]))


def join_findings(findings: Sequence[Finding]) -> str:
    """Findings in one line, separated by semicolons; the first ones of many, and their number."""
    texts: list[str] = []
    for finding in findings[:MAX_FINDINGS]:
        text = str(finding)
        if texts and sum(map(len, texts)) + len(text) > MAX_CHARACTERS:
            break
        texts.append(text)
    if left := len(findings) - len(texts):
        texts.append(f"and {left} more")
    return "; ".join(texts)


def format_findings(exc: ValidationError, root: str, model: type[BaseModel] | None = None) -> str:
    """All errors in one line; see `find`."""
    return join_findings(list(find(exc.errors(), root, model)))


def find(
    errors: Iterable[Mapping[str, Any]], root: str, model: type[BaseModel] | None = None
) -> Iterator[Finding]:
    """The errors of pydantic as findings: unknown keys first, missing ones last.

    A missing key is left out if an unknown one is probably meant to be it.

    Args:
        errors: As `ValidationError.errors` gives them.
        root: The path of the whole document.
        model: The model that was validated; without it, the nearest key is looked for only among
            the missing ones.
    """
    found = [error for error in errors if error["type"] != _CONSEQUENCE]
    ordered = sorted(found, key=lambda error: _ORDER.get(error["type"], 1))
    missing = [tuple(error["loc"]) for error in ordered if error["type"] == "missing"]
    guessed: set[tuple[Any, ...]] = set()
    for error in ordered:
        location = tuple(error["loc"])
        if location in guessed:
            continue
        if error["type"] == "extra_forbidden" and error["msg"] == _EXTRA_FORBIDDEN:
            parent = location[:-1]
            keys = keys_at(model, parent) or [loc[-1] for loc in missing if loc[:-1] == parent]
            message = describe_unknown_key(str(location[-1]), keys)
            if nearest := nearest_of(str(location[-1]), keys):
                guessed.add((*parent, nearest))
        else:
            message = describe_error(error)
        whole = "" if error["type"] == "value_error" else root
        yield Finding(join_path(location) or whole, message)


_ORDER = {"extra_forbidden": 0, "missing": 2}
_CONSEQUENCE = "default_factory_not_called"  # of an error that is listed as well
_EXTRA_FORBIDDEN = "Extra inputs are not permitted"


def describe_unknown_key(key: str, keys: Sequence[str]) -> str:
    """The message on a key that nothing reads; `keys` are those that are read there."""
    if nearest := nearest_of(key, keys):
        return f"is not a key here: did you mean {nearest}?"
    return f"is not a key here: the keys are {', '.join(keys)}" if keys else "is not a key here"


def missing_key(key: str, content: Mapping[str, Any]) -> Finding:
    """The finding on a key that a mapping lacks: the key that is probably meant to be it, if any.

    Args:
        content: The mapping, of which only the keys matter.
    """
    for other in content:
        if other != key and nearest_of(str(other), [key]):
            return Finding(str(other), describe_unknown_key(str(other), [key]))
    return Finding(key, "is missing")


def nearest_of(word: str, words: Sequence[str]) -> str | None:
    """The word that was probably meant; None if none is near.

    The ratio of difflib (Ratcliff and Obershelp) without regard to case and to `-` for `_`.
    """
    plain = {_fold(other): other for other in words}
    found = get_close_matches(_fold(word), plain, n=1, cutoff=0.6 if len(word) > 3 else 0.5)
    return plain[found[0]] if found else None


def describe_error(error: Mapping[str, Any]) -> str:
    """The message on an error of pydantic: what was read, and what was expected."""
    kind, value, context = error["type"], error.get("input"), error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind in ("value_error", "assertion_error", "extra_forbidden"):  # in words of its own
        return str(context.get("error", error["msg"]))
    if kind == "json_invalid":
        return f"is not JSON: {context.get('error', error['msg'])}"
    expected = _expected(kind, context)
    if expected is None:
        return f"is {quote(value)}: {error['msg'].replace('Input should', 'it should')}"
    hint = _hint(kind, value, context)
    return f"is {quote(value)}: expected {expected}" + (f"; {hint}" if hint else "")


def quote(value: object) -> str:
    """A value as it was read, in short: a text in quotes, a list or a mapping as its kind."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f"'{shorten(value)}'"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case int() | float():
            return str(value)[:_MAX_QUOTED]
        case _:
            return f"a {type(value).__name__}"


def shorten(text: str) -> str:
    """The start of a text in one line, with escapes for what cannot be printed."""
    start = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:_MAX_QUOTED]
    )
    return start if len(text) <= _MAX_QUOTED else f"{start}…"


def write_number(number: float) -> str:
    """A number as JSON and all versions of YAML read it."""
    if isinstance(number, int) or (number.is_integer() and abs(number) < 10**15):
        return str(int(number))
    text = repr(number)
    return text if "." in text else text.replace("e", ".0e")


def share_hint(value: object) -> str | None:
    """How to write a share that was written as a percentage; None if it was not."""
    number: float | None = None
    if isinstance(value, str) and (match := re.fullmatch(r"\s*([0-9]{1,3}(?:[.,][0-9]+)?)\s*%\s*",
                                                         value)):  # fmt: skip
        number = float(match[1].replace(",", "."))
    elif isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 100:
        number = float(value)
    return None if number is None else f"for {number:g} % write {number / 100:g}"


def text_fault(text: str) -> str | None:
    """Why a text cannot be stored; None if it can."""
    if "\0" in text:
        return "has the character U+0000, which no text may have"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "has half of a character (a lone surrogate)"
    return None


def join_path(keys: Iterable[Any]) -> str:
    """The path of a key, with dots; the marks that pydantic sets for keys are left out."""
    return ".".join(str(key) for key in keys if key != "[key]")


def keys_at(model: type[BaseModel] | None, location: Sequence[Any]) -> list[str]:
    """The keys of the model at a place inside another; empty if there is none."""
    found: list[Any] = [model] if model else []
    for key in location:
        found = [inner for outer in found for inner in _inside(outer, key)]
    return [
        field.alias or name for one in found for name, field in one.model_fields.items()
        if _is_model(one)
    ]  # fmt: skip


def _inside(model: Any, key: Any) -> list[Any]:
    """The models, lists and mappings that a key of a model, a list or a mapping may have."""
    if _is_model(model):
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        return _options(fields[key].annotation) if key in fields else []
    arguments = [one for one in get_args(model) if one is not Ellipsis]
    return _options(arguments[-1]) if arguments else []


def _options(annotation: Any) -> list[Any]:
    """The models, lists and mappings in an annotation."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [option for one in get_args(annotation) for option in _options(one)]
    return [annotation] if origin in (list, tuple, dict) or _is_model(annotation) else []


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _fold(word: str) -> str:
    return word.lower().replace("-", "_")


_NUMBER_ERRORS = ("float_type", "float_parsing")
_INTEGER_ERRORS = ("int_type", "int_parsing", "int_from_float", "int_parsing_size")
_TEXT_ERRORS = ("string_type", "string_sub_type", "string_unicode")
_KINDS = {
    **dict.fromkeys(_NUMBER_ERRORS, "a number"),
    **dict.fromkeys(_INTEGER_ERRORS, "a whole number"),
    **dict.fromkeys(_TEXT_ERRORS, "text"),
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_attributes_type": "a mapping",
    "none_required": "null",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}
_LENGTHS = {
    "string_too_short": ("at least", "min_length", "character"),
    "string_too_long": ("at most", "max_length", "character"),
    "too_short": ("at least", "min_length", "entry"),
    "too_long": ("at most", "max_length", "entry"),
}


def _expected(kind: str, context: Mapping[str, Any]) -> str | None:
    """What was expected, in words; None for an error that has none."""
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"{words} {context[key]:g}" if context[key] < 10**6 else f"{words} {context[key]}"
    if kind in _LENGTHS:
        words, key, thing = _LENGTHS[kind]
        length = context[key]
        return f"{words} {length} {thing if length == 1 else _PLURALS[thing]}"
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], f"text that matches {context['pattern']}")
    if kind in ("literal_error", "enum"):
        return str(context["expected"])
    return None


_PLURALS = {"character": "characters", "entry": "entries"}


def _hint(kind: str, value: object, context: Mapping[str, Any]) -> str | None:
    """How to write what was probably meant."""
    if value is None:
        return "give a value, or leave the key out"
    if kind in _TEXT_ERRORS and isinstance(value, bool | int | float):
        return f'write it in quotes, "{quote(value)}"'
    if kind in _NUMBER_ERRORS + _INTEGER_ERRORS and isinstance(value, str | float):
        return share_hint(value) if isinstance(value, str) and "%" in value else _as_number(value)
    if kind in ("less_than", "less_than_equal") and context[_BOUNDS[kind][1]] == 1:
        return share_hint(value)
    if kind in ("bool_type", "bool_parsing") and isinstance(value, str | int):
        word = str(value).lower()
        if word in _TRUE + _FALSE:
            return f"write {'true' if word in _TRUE else 'false'} without quotes"
    if kind in ("literal_error", "enum") and isinstance(value, str):
        words = re.findall("'([^']*)'", str(context["expected"]))
        nearest = nearest_of(value, words)
        return f"did you mean {nearest}?" if nearest else None
    return None


_TRUE, _FALSE = ["true", "yes", "on", "1"], ["false", "no", "off", "0"]


def _as_number(value: str | float) -> str | None:
    """How to write a number that was written as text, or as a fraction without need."""
    try:
        number = float(value.strip().replace(",", ".") if isinstance(value, str) else value)
    except ValueError:
        return None
    if not isfinite(number):
        return None
    if isinstance(value, str):
        return f"write {write_number(number)} without quotes"
    return f"write {write_number(number)}" if number.is_integer() else None
