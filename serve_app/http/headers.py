"""Request headers that the rule reads: user, session, region, tag and pin."""

from __future__ import annotations

import random
from collections.abc import Mapping

from serve_app.errors import BadHeader
from serve_app.privacy.pseudonyms import Pseudonymizer
from serve_app.regions import country
from serve_app.rules.plan import Context

MAX_UNIT_CHARACTERS = 200
REGION_HEADERS = ("x-region", "cf-ipcountry", "cloudfront-viewer-country")
_TAGS = {"always": True, "never": False}


def read_context(
    headers: Mapping[str, str],
    request_id: str,
    pseudonymizer: Pseudonymizer,
    *,
    trust_headers: bool,
) -> Context:
    """Read the context of a request.

    Args:
        headers: By lower-case name.
        trust_headers: Whether to read region, tag and pin; user and session are always read.

    Raises:
        BadHeader: A user or session id is too long, or the tag is neither always nor never.
    """
    user = _unit("x-user-id", headers, pseudonymizer)
    session = _unit("x-session-id", headers, pseudonymizer)
    draw = random.random()  # noqa: S311 not a secret
    if not trust_headers:
        return Context(request_id, user, session, draw=draw)
    region, tag, pin = _region(headers), _tag(headers), _pin(headers)
    return Context(request_id, user, session, region, tag, pin, draw)


def _unit(name: str, headers: Mapping[str, str], pseudonymizer: Pseudonymizer) -> str | None:
    value = headers.get(name, "")
    if not value:
        return None
    if len(value) > MAX_UNIT_CHARACTERS:
        raise BadHeader(
            f"{name.title()} has {len(value)} characters, expected at most {MAX_UNIT_CHARACTERS}:"
            " send a shorter id"
        )
    return pseudonymizer.pseudonym(value)


def _region(headers: Mapping[str, str]) -> str | None:
    for name in REGION_HEADERS:
        if value := headers.get(name):
            return country(value)
    return None


def _tag(headers: Mapping[str, str]) -> bool | None:
    value = headers.get("x-canary")
    if value is None:
        return None
    if value not in _TAGS:
        raise BadHeader(f"X-Canary is '{value[:50]}': send always or never, or omit it")
    return _TAGS[value]


def _pin(headers: Mapping[str, str]) -> str | None:
    return headers.get("x-model-version") or None
