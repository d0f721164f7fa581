"""Reads and writes YAML."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

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
        BadConfig: The file cannot be read, is not a YAML mapping, or has values that JSON lacks.
    """
    name = display_name(path)
    try:
        content = yaml.safe_load(
            sys.stdin.read() if path == STDIN else path.read_text(encoding="utf-8")
        )
        json.dumps(content, allow_nan=False)
    except OSError as exc:
        raise BadConfig(name, f"cannot be read ({exc.strerror}): expected {expected}") from exc
    except UnicodeDecodeError as exc:
        raise BadConfig(name, f"is not UTF-8 ({exc.reason}): expected {expected}") from exc
    except yaml.YAMLError as exc:
        raise BadConfig(name, f"is not YAML: {' '.join(str(exc).split())}") from exc
    except (TypeError, ValueError) as exc:
        raise BadConfig(name, f"has a value that JSON lacks, such as a date: {exc}") from exc
    if not isinstance(content, dict):
        raise BadConfig(name, f"is not a mapping: expected {expected}")
    return content


def dump_yaml(content: dict[str, Any]) -> str:
    """A mapping as YAML, with its keys in their order."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=False)
