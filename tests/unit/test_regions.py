from __future__ import annotations

import pycountry
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.regions import (
    GROUPS,
    country,
    describe_unknown_country,
    describe_unknown_region,
    members,
    nearest_country,
)

ALL_COUNTRIES = frozenset(found.alpha_2 for found in pycountry.countries)
# The M49 tree: the subregions of a continent, the intermediate regions of a subregion
TREE = {
    "africa": {"northern-africa", "sub-saharan-africa"},
    "sub-saharan-africa": {
        "eastern-africa",
        "middle-africa",
        "southern-africa",
        "western-africa",
    },
    "americas": {"northern-america", "latin-america-caribbean"},
    "latin-america-caribbean": {"caribbean", "central-america", "south-america"},
    "asia": {
        "central-asia",
        "eastern-asia",
        "south-eastern-asia",
        "southern-asia",
        "western-asia",
    },
    "europe": {"eastern-europe", "northern-europe", "southern-europe", "western-europe"},
    "oceania": {"australia-new-zealand", "melanesia", "micronesia", "polynesia"},
}
CONTINENTS = ("africa", "americas", "asia", "europe", "oceania")
SMALLEST_GROUPS = frozenset().union(*TREE.values()) - TREE.keys()


@pytest.mark.parametrize(
    ("given_code", "found"),
    [("AU", "AU"), ("au", "AU"), (" nZ ", "NZ"), ("DE", "DE"), ("GB", "GB")],
)
def test_a_country_is_found_by_its_code(given_code: str, found: str) -> None:
    assert country(given_code) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "AUS",
        "036",
        "UK",
        "EU",
        "XX",
        "T1",
        "Australia",
        "A\x00",
        "ÅU",
        "AU" * 500,
        "ß",
        "ſe",
        "ﬁ",
        "ＡＵ",
        "\xa0AU",
    ],
)
def test_other_texts_are_not_countries(text: str) -> None:
    """Cloudflare sends `XX` for unknown and `T1` for Tor. The upper case of `ß` is `SS`."""
    assert country(text) is None


@given(st.text(max_size=12))
def test_a_country_code_is_two_capital_letters(text: str) -> None:
    found = country(text)
    assert found is None or (len(found) == 2 and found.isalpha() and found.isupper())


def test_the_groups_are_those_of_m49_and_the_synonym() -> None:
    assert GROUPS.keys() == TREE.keys() | SMALLEST_GROUPS | {"australia-pacific"}


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_a_group_has_only_countries(name: str) -> None:
    assert GROUPS[name]
    assert GROUPS[name] <= ALL_COUNTRIES


@pytest.mark.parametrize("code", sorted(ALL_COUNTRIES - {"AQ"}))
def test_a_country_is_in_exactly_one_smallest_group(code: str) -> None:
    assert len([name for name in SMALLEST_GROUPS if code in GROUPS[name]]) == 1


def test_antarctica_is_in_no_group() -> None:
    assert not any("AQ" in codes for codes in GROUPS.values())
    assert members("AQ") == frozenset({"AQ"})


@pytest.mark.parametrize("name", sorted(TREE))
def test_the_parts_of_a_group_are_a_partition(name: str) -> None:
    parts = [GROUPS[part] for part in TREE[name]]
    assert frozenset().union(*parts) == GROUPS[name]
    assert sum(map(len, parts)) == len(GROUPS[name])


def test_the_continents_are_a_partition_of_the_countries() -> None:
    continents = [GROUPS[name] for name in CONTINENTS]
    assert frozenset().union(*continents) == ALL_COUNTRIES - {"AQ"}
    assert sum(map(len, continents)) == len(ALL_COUNTRIES) - 1


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("australia-pacific", "AU NZ FJ PG WS GU", "JP ID TL US"),
        ("australia-new-zealand", "AU NZ NF", "FJ PG"),
        ("northern-europe", "GB IE SE EE GG JE", "DE FR"),
        ("western-europe", "DE FR CH", "GB ES IT"),
        ("western-asia", "CY TR GE IL", "IR GR"),
        ("eastern-europe", "RU UA PL CZ", "EE RS KZ"),
        ("europe", "RU GB", "CY TR AM KZ"),
        ("eastern-asia", "TW JP HK", "VN RU"),
        ("southern-asia", "IR IN AF", "MM IQ"),
        ("northern-america", "US CA GL BM", "MX PR"),
        ("central-america", "MX PA", "CO CU"),
        ("south-america", "BR GS FK", "PA TT"),
        ("northern-africa", "SD EG EH", "SS MR ET"),
        ("eastern-africa", "SS ZW RE TF", "SD EG"),
    ],
)
def test_groups_include_and_exclude_countries(name: str, inside: str, outside: str) -> None:
    assert set(inside.split()) <= GROUPS[name]
    assert GROUPS[name].isdisjoint(outside.split())


def test_australia_pacific_is_oceania() -> None:
    assert GROUPS["australia-pacific"] == GROUPS["oceania"]


@pytest.mark.parametrize(
    "name",
    ["australia-pacific", "Australia-Pacific", "AUSTRALIA_PACIFIC", " australia pacific "],
)
def test_group_names_ignore_case_and_separators(name: str) -> None:
    assert members(name) == GROUPS["australia-pacific"]


@pytest.mark.parametrize("name", ["AU", "au", " aU "])
def test_a_country_code_has_one_member(name: str) -> None:
    assert members(name) == frozenset({"AU"})


@pytest.mark.parametrize(
    "name", ["", " ", "-", "XX", "XK", "009", "AUS", "australia", "australiapacific", "world"]
)
def test_other_names_have_no_members(name: str) -> None:
    assert members(name) is None


@given(st.text(max_size=12))
def test_members_are_countries(name: str) -> None:
    assert (members(name) or frozenset()) <= ALL_COUNTRIES


def test_the_groups_are_read_only() -> None:
    with pytest.raises(TypeError):
        GROUPS["europe"] = frozenset()  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("UK", "; did you mean GB?"),
        ("uk", "; did you mean GB?"),
        ("Germany", "; did you mean DE?"),
        ("DEU", "; did you mean DE?"),
        ("USA", "; did you mean US?"),
        ("276", "; did you mean DE?"),
        ("europa", "; did you mean europe?"),
        ("north-europe", "; did you mean northern-europe?"),
        ("EU", "), such as AU, or a group (northern-africa, eastern-africa, "),
        ("XX", "), such as AU, or a group (northern-africa, eastern-africa, "),
        (False, 'is false, which YAML 1.1 makes of NO (Norway): write "NO" in quotes'),
        (36, "is 36: expected the code of a country (ISO 3166-1 alpha-2), such as AU"),
    ],
)
def test_an_unknown_region_gets_the_nearest_one_or_the_list(name: object, text: str) -> None:
    message = describe_unknown_region(name)
    assert text in message
    assert message.startswith("is false" if name is False else f"is {name!r}: expected the code")


@given(st.text(max_size=100))
def test_any_text_gets_a_message(text: str) -> None:
    assert describe_unknown_country(text).startswith("is ")
    found = nearest_country(text)
    assert found is None or found in ALL_COUNTRIES
