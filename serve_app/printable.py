"""Which text of users can be stored and shown as it is."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"  # parts of words in several scripts, and of emoji


def unprintable(text: str) -> str | None:
    """The first character that is invisible or hides others, in words; None if there is none.

    These are control characters, marks of the direction of text and other format characters,
    halves of characters (surrogates), private and unassigned ones (the general categories C* of
    Unicode, without the joiners), and separators of lines and paragraphs.
    """
    for place, character in enumerate(text, 1):
        category = unicodedata.category(character)
        if (category[0] == "C" and character not in _JOINERS) or category in ("Zl", "Zp"):
            name = unicodedata.name(character, "")
            code = f"U+{ord(character):04X}" + (f" ({name})" if name else "")
            return f"character {place} is {code}, which cannot be shown"
    return None
