"""Countries by ISO 3166-1 code, and groups of countries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import pycountry

from models.validation import nearest_of, quote

# The smallest groups of the UN standard M49, https://unstats.un.org/unsd/methodology/m49/, with
# their M49 codes. Each country of ISO 3166-1 is in exactly one, except Antarctica (AQ), which is in
# none. M49 has no entry for Taiwan (TW); here it is in eastern-asia. Kosovo has no ISO 3166-1 code.
_SMALLEST_GROUPS = {
    # Africa
    "northern-africa": "DZ EG EH LY MA SD TN",  # 015
    "eastern-africa": "BI DJ ER ET IO KE KM MG MU MW MZ RE RW SC SO SS TF TZ UG YT ZM ZW",  # 014
    "middle-africa": "AO CD CF CG CM GA GQ ST TD",  # 017
    "southern-africa": "BW LS NA SZ ZA",  # 018
    "western-africa": "BF BJ CI CV GH GM GN GW LR ML MR NE NG SH SL SN TG",  # 011
    # Americas
    "northern-america": "BM CA GL PM US",  # 021
    "caribbean": (  # 029
        "AG AI AW BB BL BQ BS CU CW DM DO GD GP HT JM KN KY LC MF MQ MS PR SX TC TT VC VG VI"
    ),
    "central-america": "BZ CR GT HN MX NI PA SV",  # 013
    "south-america": "AR BO BR BV CL CO EC FK GF GS GY PE PY SR UY VE",  # 005
    # Asia
    "central-asia": "KG KZ TJ TM UZ",  # 143
    "eastern-asia": "CN HK JP KP KR MN MO TW",  # 030
    "south-eastern-asia": "BN ID KH LA MM MY PH SG TH TL VN",  # 035
    "southern-asia": "AF BD BT IN IR LK MV NP PK",  # 034
    "western-asia": "AE AM AZ BH CY GE IL IQ JO KW LB OM PS QA SA SY TR YE",  # 145
    # Europe
    "eastern-europe": "BG BY CZ HU MD PL RO RU SK UA",  # 151
    "northern-europe": "AX DK EE FI FO GB GG IE IM IS JE LT LV NO SE SJ",  # 154
    "southern-europe": "AD AL BA ES GI GR HR IT ME MK MT PT RS SI SM VA",  # 039
    "western-europe": "AT BE CH DE FR LI LU MC NL",  # 155
    # Oceania
    "australia-new-zealand": "AU CC CX HM NF NZ",  # 053
    "melanesia": "FJ NC PG SB VU",  # 054
    "micronesia": "FM GU KI MH MP NR PW UM",  # 057
    "polynesia": "AS CK NU PF PN TK TO TV WF WS",  # 061
}

# The larger groups and their parts; a group comes after its parts.
_LARGER_GROUPS = {
    "sub-saharan-africa": (  # 202
        "eastern-africa", "middle-africa", "southern-africa", "western-africa",
    ),
    "latin-america-caribbean": ("caribbean", "central-america", "south-america"),  # 419
    "africa": ("northern-africa", "sub-saharan-africa"),  # 002
    "americas": ("northern-america", "latin-america-caribbean"),  # 019
    "asia": (  # 142
        "central-asia", "eastern-asia", "south-eastern-asia", "southern-asia", "western-asia",
    ),
    "europe": (  # 150
        "eastern-europe", "northern-europe", "southern-europe", "western-europe",
    ),
    "oceania": ("australia-new-zealand", "melanesia", "micronesia", "polynesia"),  # 009
    "australia-pacific": ("oceania",),  # not in M49: a synonym
}  # fmt: skip


def _groups() -> dict[str, frozenset[str]]:
    groups = {name: frozenset(codes.split()) for name, codes in _SMALLEST_GROUPS.items()}
    for name, parts in _LARGER_GROUPS.items():
        groups[name] = frozenset().union(*(groups[part] for part in parts))
    return groups


GROUPS: Mapping[str, frozenset[str]] = MappingProxyType(_groups())
"""Name of a group to its countries, ISO 3166-1 alpha-2."""


@lru_cache(maxsize=1024)
def country(code: str) -> str | None:
    """The ISO 3166-1 alpha-2 code in upper case; None if it is not the code of a country."""
    if len(code) >= 8 or not code.isascii():  # "ß" in upper case is "SS", South Sudan
        return None
    found = pycountry.countries.get(alpha_2=code.strip().upper())
    return found.alpha_2 if found else None


def members(name: str) -> frozenset[str] | None:
    """The countries of a group, or of a country code the country alone; None for other names.

    Case is ignored, and `_` and spaces count as `-`.
    """
    group = GROUPS.get(name.strip().lower().replace("_", "-").replace(" ", "-"))
    if group is not None:
        return group
    found = country(name)
    return frozenset({found}) if found else None


_SYNONYMS = {"UK": "GB", "EL": "GR", "ENGLAND": "GB", "SCOTLAND": "GB", "WALES": "GB"}
_EXPECTED_COUNTRY = "expected the code of a country (ISO 3166-1 alpha-2), such as AU"


def nearest_country(name: str) -> str | None:
    """The code of a country that was given by its name, by three letters, or by a synonym."""
    plain = " ".join(name.split())
    if plain.upper() in _SYNONYMS:
        return _SYNONYMS[plain.upper()]
    if not 2 < len(plain) <= 60:
        return None
    try:
        found = pycountry.countries.lookup(plain)
    except LookupError:
        return None
    return str(found.alpha_2)


def describe_unknown_country(name: object) -> str:
    """The message on a value that is not the code of a country."""
    if name is False:
        return 'is false, which YAML 1.1 makes of NO (Norway): write "NO" in quotes'
    nearest = nearest_country(name) if isinstance(name, str) else None
    return f"is {quote(name)}: {_EXPECTED_COUNTRY}" + (
        f"; did you mean {nearest}?" if nearest else ""
    )


def describe_unknown_region(name: object) -> str:
    """The message on a value that is neither a country nor a group of countries."""
    if name is False or not isinstance(name, str):
        return describe_unknown_country(name)
    expected = f"is {quote(name)}: {_EXPECTED_COUNTRY}, or a group"
    near_group = nearest_of(name.strip().replace(" ", "-"), list(GROUPS)) if len(name) > 3 else None
    if nearest := nearest_country(name) or near_group:
        return f"{expected}; did you mean {nearest}?"
    return f"{expected} ({', '.join(GROUPS)})"
