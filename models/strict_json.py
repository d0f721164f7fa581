"""Reads JSON that every reader reads alike, with bounds on what it holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from math import isfinite
from typing import Any, NoReturn

from models.validation import Finding, InvalidDocument, join_path, text_fault

MAX_DEPTH = 64
MAX_INTEGER = 2**63 - 1


def parse_json(data: bytes) -> Any:
    """The value of a JSON document.

    Raises:
        InvalidDocument: The data are not JSON, or nested too deeply; a key is set twice; a number
            is not finite or beyond 64 bits; or a text cannot be stored.
    """
    repeated: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            times = Counter(key for key, _ in pairs)
            twice = [key for key in content if times[key] > 1]
            repeated[id(content)] = (content, twice)  # kept, so that the id stays its own
        return content

    try:
        value = json.loads(data, object_pairs_hook=build, parse_constant=_reject_constant)
    except InvalidDocument:
        raise
    except UnicodeDecodeError as exc:
        raise InvalidDocument("", f"is not UTF-8 ({exc.reason}): send it as UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise InvalidDocument("", f"is not JSON: {exc.msg} (character {exc.pos + 1})") from exc
    except RecursionError as exc:
        raise _too_deep() from exc
    except ValueError as exc:  # Python reads at most 4300 digits
        raise InvalidDocument("", f"has a number beyond {MAX_INTEGER}") from exc
    if findings := list(_find_faults(value, repeated)):
        raise InvalidDocument.of(findings)
    return value


def _find_faults(
    root: Any, repeated: dict[int, tuple[dict[str, Any], list[str]]]
) -> Iterator[Finding]:
    """What is wrong inside a value, in the order of the document."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while waiting:
        path, value = waiting.pop()
        if len(path) > MAX_DEPTH:
            raise _too_deep()
        match value:
            case dict():
                for key in repeated.get(id(value), ({}, []))[1]:
                    yield Finding(join_path((*path, key[:50])), "is set twice: keep one")
                for key in value:
                    if fault := text_fault(key):
                        yield Finding(join_path(path), f"has a key that {fault}")
                items = [((*path, key[:50]), item) for key, item in value.items()]
                waiting += reversed(items)
            case list():
                waiting += reversed([((*path, str(n)), item) for n, item in enumerate(value)])
            case str() if fault := text_fault(value):
                yield Finding(join_path(path), fault)
            case float() if not isfinite(value):
                yield Finding(join_path(path), "is no finite number")
            case int() if abs(value) > MAX_INTEGER:
                yield Finding(join_path(path), f"is beyond {MAX_INTEGER}, the largest number")


def _reject_constant(name: str) -> NoReturn:
    raise InvalidDocument("", f"has {name}, which JSON does not have: send a finite number")


def _too_deep() -> InvalidDocument:
    return InvalidDocument("", f"has more than {MAX_DEPTH} levels: expected fewer")
