"""Reads YAML that every reader reads alike, with bounds on what it holds.

Ray reads YAML 1.1, other tools YAML 1.2, and the two take some words for different values: `NO` is
false or text, `5e-2` text or 0.05, `010` 8 or 10. Such words are rejected, and so is a key that is
set twice, of which every reader takes another one. Merge keys (`<<`) are read as Ray reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from math import isfinite
from typing import Any

import yaml

from models.validation import (
    Finding,
    InvalidDocument,
    join_path,
    quote,
    shorten,
    text_fault,
    write_number,
)

MAX_BYTES = 2**18  # a deployment file has a few thousand
MAX_DEPTH = 64
MAX_VALUES = 20_000  # with those that aliases repeat
MAX_INTEGER = 2**63 - 1

_MERGE = "<<"
_PREFIX = "tag:yaml.org,2002:"
_WRITABLE_TAGS = (None, f"{_PREFIX}str", f"{_PREFIX}seq", f"{_PREFIX}map")

# The core schema of YAML 1.2.2, chapter 10.3.2.
_NULL = re.compile("|~|null|Null|NULL")
_BOOLEAN = re.compile("true|True|TRUE|false|False|FALSE")
_DECIMAL = re.compile("[-+]?[0-9]+")
_OCTAL = re.compile("0o([0-7]+)")
_HEXADECIMAL = re.compile("0x([0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_Tagged = yaml.CollectionStartEvent | yaml.ScalarEvent


class _Unreadable(Exception):
    """A plain scalar has no value in a schema."""


@dataclass(slots=True)
class _Open:
    """A list or a mapping whose end was not read yet.

    Attributes:
        path: Its keys from the root.
        content: The list; of a mapping the values by key, merged ones left out.
        lines: The line of each key.
        key: The key whose value comes next.
        is_merge: Whether that key is a merge key.
        merged: The mappings of the merge key, the strongest first.
        size: The number of values inside.
    """

    path: tuple[str, ...]
    content: list[Any] | dict[str, Any]
    anchor: str | None
    lines: dict[str, int] = field(default_factory=dict)
    key: str | None = None
    is_merge: bool = False
    merged: list[dict[str, Any]] = field(default_factory=list)
    size: int = 1

    @property
    def expects_key(self) -> bool:
        return isinstance(self.content, dict) and self.key is None

    @property
    def next_path(self) -> tuple[str, ...]:
        """The path of the next value."""
        key = str(len(self.content)) if isinstance(self.content, list) else str(self.key)
        return (*self.path, key)


def parse_yaml(data: bytes) -> Any:
    """The value of a YAML document: only what JSON has, too.

    Raises:
        InvalidDocument: The data are not one YAML document, or are too large; a key is set twice;
            or a value is none of JSON, or another one in YAML 1.1 than in YAML 1.2.
    """
    if len(data) > MAX_BYTES:
        raise InvalidDocument("", f"has more than {MAX_BYTES} bytes: expected a short document")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidDocument("", f"is not UTF-8 ({exc.reason}): save it as UTF-8") from exc
    try:
        return _Builder().build(text)
    except InvalidDocument:
        raise
    except yaml.YAMLError as exc:
        raise InvalidDocument("", f"is not YAML: {_describe(exc)}") from exc
    except (ValueError, OverflowError) as exc:  # of an escape such as "\\UFFFFFFFF"
        raise InvalidDocument("", f"is not YAML: {exc}") from exc


def is_text(word: str) -> bool:
    """Whether a word without quotes is text in all versions of YAML."""
    try:
        return isinstance(_read_1_1(word), str) and isinstance(_read_1_2(word), str)
    except _Unreadable:
        return False


class _Builder:
    """Builds the value from the events of the parser, without recursion."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}  # the value and its size
        self._values = 0
        self._findings: list[Finding] = []
        self._documents = 0
        self._root: Any = None

    def build(self, text: str) -> Any:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            match event:
                case yaml.DocumentStartEvent():
                    self._documents += 1
                    if self._documents > 1:
                        raise InvalidDocument("", "has several documents: expected one")
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._start(event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._end()
                case yaml.ScalarEvent():
                    self._add_scalar(event)
                case yaml.AliasEvent():
                    self._add_alias(event)
        if self._findings:
            raise InvalidDocument.of(self._findings)
        return self._root

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        line = _line(event)
        path = self._path
        if self._open and self._open[-1].expects_key:
            raise InvalidDocument(join_path(path), f"has a key in line {line} that is no text")
        if len(self._open) == MAX_DEPTH:
            raise InvalidDocument(
                "", f"has more than {MAX_DEPTH} levels in line {line}: expected fewer"
            )
        self._reject_tag(event)
        self._count(1)
        content: list[Any] | dict[str, Any] = (
            {} if isinstance(event, yaml.MappingStartEvent) else []
        )
        self._open.append(_Open(path, content, event.anchor))

    def _end(self) -> None:
        done = self._open.pop()
        content = done.content
        if isinstance(content, dict):
            merged: dict[str, Any] = {}
            for mapping in done.merged:
                merged = mapping | merged
            content = merged | content
        self._add(content, done.size, done.anchor)

    def _add_scalar(self, event: yaml.ScalarEvent) -> None:
        self._reject_tag(event)
        is_plain = event.implicit[0] and event.tag is None
        if self._open and self._open[-1].expects_key:
            self._add_key(event, is_plain=is_plain)
            return
        self._count(1)
        value = self._plain(event, self._path) if is_plain else event.value
        if isinstance(value, str) and (fault := text_fault(value)):
            self._find(self._path, f"{fault} (line {_line(event)})")
        self._add(value, 1, event.anchor)

    def _add_key(self, event: yaml.ScalarEvent, *, is_plain: bool) -> None:
        mapping, line, key = self._open[-1], _line(event), str(event.value)
        path = (*mapping.path, key[:50])
        mapping.key = key
        mapping.is_merge = is_plain and key == _MERGE
        if event.anchor is not None:
            self._anchors[event.anchor] = (key, 1)
        found = len(self._findings)
        value = self._plain(event, path, " as a key") if is_plain and not mapping.is_merge else key
        if len(self._findings) > found:
            return
        if not isinstance(value, str):
            self._find(path, f"is {quote(value)} as a key in line {line}, and no text: write it in"
                             f' quotes, "{shorten(key)}"')  # fmt: skip
        elif fault := text_fault(key):
            self._find(path, f"{fault} (line {line})")
        elif key in mapping.lines:
            self._find(
                path, f"is set twice, in the lines {mapping.lines[key]} and {line}: keep one"
            )
        mapping.lines.setdefault(key, line)

    def _add_alias(self, event: yaml.AliasEvent) -> None:
        line, name = _line(event), str(event.anchor)
        if name not in self._anchors:
            raise InvalidDocument(
                join_path(self._path),
                f"is *{name[:50]} in line {line}, and no value before it has the anchor"
                f" &{name[:50]}: write the value",
            )
        value, size = self._anchors[name]
        if self._open and self._open[-1].expects_key:
            raise InvalidDocument(
                join_path(self._path), f"has an alias as a key in line {line}: write the key"
            )
        self._count(size)
        self._add(value, size, None)

    def _add(self, value: Any, size: int, anchor: str | None) -> None:
        """Put a complete value where it belongs."""
        if anchor is not None:
            self._anchors[anchor] = (value, size)
        if not self._open:
            self._root = value
            return
        parent = self._open[-1]
        parent.size += size
        if isinstance(parent.content, list):
            parent.content.append(value)
            return
        key, parent.key = parent.key, None
        if parent.is_merge:
            parent.merged += self._mappings(value, parent.path)
        else:
            parent.content[str(key)] = value

    def _mappings(self, value: Any, path: tuple[str, ...]) -> list[dict[str, Any]]:
        """The mappings that a merge key takes in, the strongest first."""
        mappings = value if isinstance(value, list) else [value]
        if all(isinstance(mapping, dict) for mapping in mappings):
            return mappings
        raise InvalidDocument(join_path((*path, _MERGE)), "merges a value that is no mapping")

    def _plain(self, event: yaml.ScalarEvent, path: tuple[str, ...], what: str = "") -> Any:
        """The value of a scalar without quotes; records why there is none.

        Args:
            what: What the scalar is, for the message, if it is no value.
        """
        word, place = event.value, f"{what} in line {_line(event)}"
        values: list[Any] = []
        for read in (_read_1_1, _read_1_2):
            try:
                values.append(read(word))
            except _Unreadable as exc:
                self._find(path, f"is {shorten(word)}{place}, {exc}: write it in quotes for text")
                return None
        one, two = values
        if (type(one), one) == (type(two), two):
            return one
        choices = [write_number(value) for value in (two, one) if type(value) in (int, float)]
        choices.append(f'"{shorten(word)}" in quotes for text')
        choices += [quote(value) for value in values if isinstance(value, bool)]
        self._find(
            path,
            f"is {shorten(word)}{place}, which Ray (YAML 1.1) reads as {_show(one)} and YAML 1.2"
            f" as {_show(two)}: write {' or '.join(choices)}",
        )
        return None

    def _reject_tag(self, event: _Tagged) -> None:
        if event.tag not in _WRITABLE_TAGS:
            raise InvalidDocument(
                join_path(self._path),
                f"has the tag {event.tag[:50]} in line {_line(event)}: write a value without a tag",
            )

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise InvalidDocument(
                "", f"has more than {MAX_VALUES} values, aliases counted: expected fewer"
            )

    def _find(self, path: tuple[str, ...], message: str) -> None:
        self._findings.append(Finding(join_path(path), message))

    @property
    def _path(self) -> tuple[str, ...]:
        """The path of the next value."""
        if not self._open:
            return ()
        return self._open[-1].path if self._open[-1].expects_key else self._open[-1].next_path


def _read_1_1(word: str) -> Any:
    """A word as PyYAML reads it; a date as its class."""
    reader = yaml.SafeLoader("")
    tag = reader.resolve(yaml.ScalarNode, word, (True, False))  # type: ignore[no-untyped-call]
    try:
        value = reader.construct_object(yaml.ScalarNode(tag, word))
    except yaml.YAMLError as exc:
        raise _Unreadable("which is a sign of YAML 1.1") from exc
    except (ValueError, OverflowError) as exc:
        cause = f"a number of {len(word)} digits" if len(word) > 30 else f"no date ({exc})"
        raise _Unreadable(cause) from exc
    return _bounded(value)


def _read_1_2(word: str) -> Any:
    """A word in the core schema of YAML 1.2."""
    if _NULL.fullmatch(word):
        return None
    if _BOOLEAN.fullmatch(word):
        return word[0] in "tT"
    if _DECIMAL.fullmatch(word):
        return _bounded(_integer(word, 10))
    if match := _OCTAL.fullmatch(word):
        return _bounded(_integer(match[1], 8))
    if match := _HEXADECIMAL.fullmatch(word):
        return _bounded(_integer(match[1], 16))
    if _FLOAT.fullmatch(word) or _NOT_FINITE.fullmatch(word):
        return _bounded(float(word.lower().replace(".inf", "inf").replace(".nan", "nan")))
    return word


def _integer(digits: str, base: int) -> int:
    try:
        return int(digits, base)
    except ValueError as exc:  # Python reads at most 4300 digits
        raise _Unreadable(f"a number of {len(digits)} digits") from exc


def _bounded(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        raise _Unreadable("which is no number in JSON")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise _Unreadable(f"beyond {MAX_INTEGER}, the largest number")
    return value


def _show(value: Any) -> str:
    return "a date" if isinstance(value, date) else quote(value)


def _describe(exc: yaml.YAMLError) -> str:
    """The error of the parser in one line."""
    if isinstance(exc, yaml.reader.ReaderError):
        return f"found the character U+{exc.character:04X}, which YAML does not allow"
    if not isinstance(exc, yaml.MarkedYAMLError):
        return " ".join(str(exc).split())[:200]
    mark = exc.problem_mark or exc.context_mark
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    if "'\\t'" in (exc.problem or ""):
        return f"found a tab{where}: indent with spaces"
    return f"{exc.problem or exc.context}{where}"


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark else 0
