"""Who asks: the headers that the team's own gateway sets."""

from __future__ import annotations

import random
from collections.abc import Mapping

from serve_app.domain import Context
from serve_app.errors import BadHeader
from serve_app.privacy.pseudonyms import Pseudonymizer
from serve_app.regions import country

MAX_UNIT_CHARACTERS = 200
REGION_HEADERS = ("x-region", "cf-ipcountry", "cloudfront-viewer-country")
_TAGS = {"always": True, "never": False}


def read_context(
    headers: Mapping[str, str], request_id: str, pseudonymizer: Pseudonymizer, *, trusted: bool
) -> Context:
    """The context of a request.

    Args:
        headers: By lower-case name.
        trusted: Whether pins, tags and regions are believed; users and sessions always are.

    Raises:
        BadHeader: A user or a session is too long, or the tag is neither always nor never.
    """
    user, session = (
        _unit("x-user-id", headers, pseudonymizer),
        _unit("x-session-id", headers, pseudonymizer),
    )
    draw = random.random()  # noqa: S311 no secret
    if not trusted:
        return Context(request_id, user, session, draw=draw)
    region, tag, pin = _region(headers), _tag(headers), _pin(headers)
    return Context(request_id, user, session, region, tag, pin, draw)


def _unit(name: str, headers: Mapping[str, str], pseudonymizer: Pseudonymizer) -> str | None:
    value = headers.get(name, "")
    if not value:
        return None
    if len(value) > MAX_UNIT_CHARACTERS:
        raise BadHeader(
            f"{name.title()} has {len(value)} characters: at most {MAX_UNIT_CHARACTERS} are read"
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
        raise BadHeader(f"X-Canary is '{value[:50]}': expected always or never")
    return _TAGS[value]


def _pin(headers: Mapping[str, str]) -> str | None:
    return headers.get("x-model-version") or None
