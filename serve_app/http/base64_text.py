"""Base64 as tools write it: with line ends, in either alphabet, without padding, or a data URL."""

from __future__ import annotations

import binascii

_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WHITESPACE = b" \t\r\n\v\f"
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_DATA_URL = "data:"
# What a data URL may escape (RFC 3986, section 2.1). Undoing escapes one by one takes seconds.
_ESCAPES = {
    f"%{byte:{digits}}".encode(): bytes((byte,))
    for byte in b" \t\r\n+/="
    for digits in ("02X", "02x")
}


def decode_base64(text: str) -> bytes:
    """Decode base64 of either alphabet (RFC 4648).

    It may have whitespace as in MIME (RFC 2045), lack padding, or be a data URL (RFC 2397).

    Raises:
        ValueError: The text is not base64; the message says what is wrong and what to send.
    """
    text = text.strip()
    data = _after_comma(text) if text[:5].lower() == _DATA_URL else text.encode(errors="replace")
    data = data.translate(_URL_SAFE, _WHITESPACE)
    if foreign := data.translate(None, _ALPHABET):
        at = data.index(foreign[:1])
        character = data[at : at + 4].decode(errors="replace")[0]
        raise ValueError(
            f"it has the character {character!r} after {at} characters of base64: send only base64"
        )
    unpadded = data.rstrip(b"=")
    if b"=" in unpadded:
        raise ValueError("padding (=) is not at its end: send the base64 of one image")
    if len(unpadded) % 4 == 1:
        raise ValueError(
            f"it has {len(unpadded)} characters, and base64 never has one more than a multiple of"
            " 4: it was probably cut; send all of it"
        )
    return binascii.a2b_base64(unpadded + b"=" * (-len(unpadded) % 4))


def _after_comma(url: str) -> bytes:
    head, comma, content = url.partition(",")
    if not comma or not head.lower().rstrip().endswith(";base64"):
        raise ValueError(
            f"it is a data URL that begins with {head[:50]!r}: send one with ';base64,', or only"
            " the base64 after the comma"
        )
    data = content.encode(errors="replace")
    if 3 * data.count(b"%") <= len(data):  # else some are no escapes
        for escape, byte in _ESCAPES.items():
            data = data.replace(escape, byte)
    return data
