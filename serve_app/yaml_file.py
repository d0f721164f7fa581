"""Reads and writes YAML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from models.strict_yaml import MAX_BYTES, is_text, parse_yaml
from models.validation import Finding, InvalidDocument, quote
from serve_app.errors import BadConfig

STDIN = Path("-")


def display_name(path: Path) -> str:
    """The name of a file in messages."""
    return "standard input" if path == STDIN else str(path)


def read_mapping(path: Path, expected: str = "keys and values") -> dict[str, Any]:
    """The mapping of a YAML file, or of standard input, which is `-`.

    Args:
        expected: What the mapping should hold, for the error message.

    Raises:
        BadConfig: The file cannot be read, is not a YAML mapping, sets a key twice, or has a value
            that `models.strict_yaml` rejects.
    """
    name = display_name(path)
    try:
        content = parse_yaml(_read(path))
    except OSError as exc:
        raise BadConfig(name, f"cannot be read ({exc.strerror}): expected {expected}") from exc
    except InvalidDocument as exc:
        raise BadConfig.of([_of_file(name, finding) for finding in exc.findings]) from exc
    if not isinstance(content, dict):
        what = "empty" if content is None else quote(content)
        raise BadConfig(name, f"is not a mapping, but {what}: expected {expected}")
    return content


def dump_yaml(content: dict[str, Any]) -> str:
    """A mapping of JSON values as YAML that `read_mapping` reads, with its keys in their order."""
    return yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )


class _Dumper(yaml.SafeDumper):
    """Puts a text in quotes that a version of YAML takes for another value."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = None if is_text(text) else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _Dumper.represent_text)


def _read(path: Path) -> bytes:
    """The start of a file, one byte longer than a document may be."""
    if path == STDIN:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _of_file(name: str, finding: Finding) -> Finding:
    return finding if finding.path else Finding(name, finding.message)
