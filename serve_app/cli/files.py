"""The small YAML files that commands take."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from serve_app.errors import BadConfig

STDIN = Path("-")


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping of a YAML file, or of standard input, which is `-`.

    Raises:
        BadConfig: It cannot be read, is no YAML mapping, or holds what JSON cannot say.
    """
    name = "standard input" if path == STDIN else str(path)
    try:
        content = yaml.safe_load(sys.stdin.read() if path == STDIN else path.read_text())
        json.dumps(content, allow_nan=False)
    except (OSError, UnicodeDecodeError) as exc:
        raise BadConfig(name, f"cannot be read: {exc}") from exc
    except yaml.YAMLError as exc:
        raise BadConfig(name, f"is not YAML: {' '.join(str(exc).split())}") from exc
    except (TypeError, ValueError) as exc:
        raise BadConfig(name, f"holds what JSON cannot say, such as a date: {exc}") from exc
    if not isinstance(content, dict):
        raise BadConfig(name, "holds no mapping")
    return content
