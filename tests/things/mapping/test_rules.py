"""Mapping files: what is accepted, and what is said of the rest."""

import pytest

from taihu.kernel.errors import ConfigError
from taihu.things.mapping.rules import Format, builtin_mappings, load_mappings
from taihu.things.property import Kind

GOOD = """
[[mapping]]
name = "press"
version = 3
topic = "sensors/{building}/{device}/+/{property}"
thing = "{building}-{device}"
format = "scalar"
time = ["timestamp"]
kind = "gauge"
units = { power = "kWh", temp = "Cel" }
"""


def test_a_file_becomes_mappings_with_units_as_codes() -> None:
    (mapping,) = load_mappings(GOOD, "press.toml")
    assert mapping.label() == "press@3"
    assert mapping.format is Format.SCALAR
    assert mapping.time == ("timestamp",)
    assert mapping.kind is Kind.GAUGE
    assert mapping.units == {"power": "kW.h", "temp": "Cel"}


def test_built_in_mappings_load() -> None:
    names = [mapping.name for mapping in builtin_mappings()]
    assert len(names) == len(set(names)) == 10


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("name =", "name"), 3, "Not TOML"),
        (("[[mapping]]", "[[mappings]]"), 2, "mapping"),
        (("[[mapping]]", "[mapping]"), 2, "list of tables"),
        (('"press"', '"My Press"'), 3, "cannot name a mapping"),
        (("version = 3", "version = 0"), 4, "not a version"),
        (("version = 3", 'version = "3"'), 4, "version is text"),
        (("{building}/{device}", "{building}/x{device}"), 5, "is no level"),
        (("{building}/{device}", "{building}/{building}"), 5, "stands twice"),
        (("sensors/", "#/"), 5, "is no level"),
        (("{building}-{device}", "{hall}-{device}"), 6, "no {hall}"),
        (("{property}", "+"), 7, "a scalar needs a property"),
        (('"scalar"', '"flat-json"'), 7, "name their properties"),
        (('"scalar"', '"csv"'), 7, "csv"),
        (("time =", "tme ="), 8, "tme"),
        (("kWh", "bananas"), 10, "not a unit"),
        (('units = { power = "kWh", temp = "Cel" }', "x"), 10, "Not TOML"),
    ],
)
def test_a_bad_file_is_told_by_line_with_a_remedy(change: tuple[str, str], line: int, message: str) -> None:
    """Bad input: file, line, what is wrong, what to write instead."""
    with pytest.raises(ConfigError) as caught:
        load_mappings(GOOD.replace(*change), "press.toml")
    assert caught.value.where == f"press.toml:{line}"
    assert message in str(caught.value)
    assert caught.value.remedy


def test_a_gateway_format_takes_no_thing() -> None:
    text = '[[mapping]]\nname = "g"\ntopic = "g/{thing}"\nformat = "thingsboard-gateway"\n'
    with pytest.raises(ConfigError, match="names its things"):
        load_mappings(text, "g.toml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('format = "line-protocol"\nproperty = "{measurement}"', "one property"),
        ('format = "senml"\nthing_tags = ["a"]', "no tags"),
    ],
)
def test_tags_are_for_line_protocol(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_mappings(f'[[mapping]]\nname = "l"\ntopic = "l"\n{line}\n', "l.toml")


def test_a_name_stands_once() -> None:
    with pytest.raises(ConfigError, match="defined twice") as caught:
        load_mappings(GOOD + GOOD, "press.toml")
    assert caught.value.where == "press.toml:13"
