"""Limits on the JSON of an inference request, checked before it is parsed.

A parser makes an object of 50 to 200 bytes from each value, which has as little as two bytes of
JSON, and holds the interpreter's lock meanwhile. Counting characters takes a hundredth of the time.
"""

from __future__ import annotations

from serve_app.errors import BadBody

# Parsed in 0.1 to 0.2 s, as are 2400 integers of 4300 digits; a binary number costs a hundredth.
MAX_JSON_NUMBERS = 1_000_000
MAX_JSON_LISTS = 100_000  # parsed in 0.3 s at most; flat numbers need one list
MAX_JSON_KEYS = 1000  # a request with all its parameters has less than 50
# Characters in text count as well, so that no text has to be found.
_LIMITS = {
    b"{": (MAX_JSON_KEYS, "objects"),
    b":": (MAX_JSON_KEYS, "keys"),
    b'"': (10 * MAX_JSON_KEYS, "texts"),
    b"[": (MAX_JSON_LISTS, "lists, or numbers in one list"),
    b",": (MAX_JSON_NUMBERS + MAX_JSON_KEYS, "values"),
}


def check_json_size(text: bytes) -> None:
    """Check how many objects, keys, lists and values JSON has, at most.

    Raises:
        BadBody: It may have more than a request can use.
    """
    for character, (limit, name) in _LIMITS.items():
        count = text.count(character)
        if count > limit:
            raise BadBody(
                f"the JSON has {count} times '{character.decode()}', expected at most {limit}:"
                f" send fewer {name}, or binary data with binary_data_size"
            )
