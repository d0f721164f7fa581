"""Countries, as the team's gateway names them."""

from __future__ import annotations

from functools import lru_cache

import pycountry


@lru_cache(maxsize=1024)
def country(code: str) -> str | None:
    """ISO 3166-1 alpha-2 in upper case; None for what is no country's code."""
    found = pycountry.countries.get(alpha_2=code.strip().upper()) if len(code) < 8 else None
    return found.alpha_2 if found else None
