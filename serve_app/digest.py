"""The digest of a JSON value."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def json_digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, hex; equal values have equal digests."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """Compact JSON with sorted keys; keys that are not text become text first, as in JSON."""
    value = json.loads(json.dumps(value))
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
