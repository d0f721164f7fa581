"""Recognizes files and texts that clients send instead of a supported image."""

from __future__ import annotations

import re
from typing import Final

_CONVERT: Final = "convert the image to one of them"
_SEND_BYTES: Final = "send the bytes of the image file"
_KINDS: Final = {
    rb"....ftyp(hei|hev|mif1|msf1)": ("a HEIC", _CONVERT),
    rb"....ftypavi[fs]": ("an AVIF", _CONVERT),
    rb"....ftyp": ("a film", "send an image"),
    rb"II\*\0|MM\0\*": ("a TIFF", _CONVERT),
    rb"\x00\x00\x01\x00": ("an ICO", _CONVERT),
    rb"\xff\x0a|\x00\x00\x00\x0cJXL ": ("a JPEG XL", _CONVERT),
    rb"\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  ": ("a JPEG 2000", _CONVERT),
    rb"\s*<": ("SVG, HTML or XML", _CONVERT),
    rb"%PDF": ("a PDF", _CONVERT),
    rb"\x1f\x8b": ("compressed by gzip", "send the image without compression"),
    rb"\s*data:": ("a data URL", _SEND_BYTES),
    rb"\s*(iVBORw|/9j/|R0lGOD|UklGR|Qk[0-3])": ("base64", _SEND_BYTES),
    rb"\s*https?:": ("a URL", _SEND_BYTES),
    rb"\s*[{\[]": ("JSON or other text", _SEND_BYTES),
    rb"\xef\xbf\xbd|\xc2\x89PNG|\xc3\xbf\xc3\x98|\x89PNG\r?\r?\n": (
        "an image that a program changed as if it were text",
        f"{_SEND_BYTES} unchanged",
    ),
}
_PATTERNS = [(re.compile(pattern, re.DOTALL), *kind) for pattern, kind in _KINDS.items()]
_START_BYTES = 64


def recognize(data: bytes) -> tuple[str, str] | None:
    """What the bytes are and what to do; None if they are unknown."""
    for pattern, name, advice in _PATTERNS:
        if pattern.match(data[:_START_BYTES]):
            return name, advice
    return None
