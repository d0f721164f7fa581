"""The threads that decode images."""

from __future__ import annotations

from typing import Final

from serve_app.bounded_threads import BoundedThreads

# Decoding the images of a request takes up to 0.14 s if they are small, and up to 1.2 s if they are
# large: the last of the places may wait for 5 s.
SMALL: Final = BoundedThreads("decode-small", "images", threads=2, places=80)
LARGE: Final = BoundedThreads(
    "decode-large", "large images", threads=1, places=4, returns_memory=True
)
