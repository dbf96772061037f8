"""Payload mappings as data: which topics carry readings of which thing, and which decoder reads them."""

import re
from collections.abc import Collection, Iterator
from enum import StrEnum
from importlib.resources import files

import msgspec
from msgspec.structs import replace

from taihu.kernel.toml import Fault, located, read_toml
from taihu.kernel.units import alias
from taihu.things.mapping.topics import CAPTURE, parse_pattern
from taihu.things.property import Kind


class Format(StrEnum):
    """How a payload is written: the name of its decoder."""

    SCALAR = "scalar"
    FLAT_JSON = "flat-json"
    THINGSBOARD = "thingsboard"
    THINGSBOARD_GATEWAY = "thingsboard-gateway"
    SENML = "senml"
    SENML_JSON = "senml-json"
    SENML_CBOR = "senml-cbor"
    LINE_PROTOCOL = "line-protocol"
    BUNDLE = "bundle"


class Nested(StrEnum):
    """What becomes of an object or array inside a payload."""

    FLATTEN = "flatten"  # a property for each leaf: `a.b`, `a.0`
    OBJECT = "object"  # one property of data type `object`


class BaseName(StrEnum):
    """What the base name (`bn`) of a SenML record is for."""

    IGNORE = "ignore"  # the thing is known already; the record's name is the property
    THING = "thing"  # it names the thing
    PROPERTY = "property"  # it begins the property's name, as in a resolved record


class Mapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One payload mapping.

    `topic` is a pattern relative to the project's topic space, such as `plant/{thing}/+/{property}`. `thing` and
    `property` are made of its captures; without them `{thing}` and `{property}` are taken where the topic has them,
    else the thing of the connection and the keys of the payload. `time` names the top-level keys that hold the time.
    `rename` maps a payload's (flattened) key to a property; `units` maps a property to the unit it is sent in.
    `kind` is what a property inferred from this mapping is taken to be.

    A line of InfluxDB line protocol is named by its tags: `thing` and `property` are made of them, of `{measurement}`,
    `{field}` and `{tags}` (those not named otherwise). Without `thing` the first of `thing_tags` that it has names the
    thing. `ignore_tags` say nothing of what is measured.
    """

    name: str
    topic: str
    format: Format
    version: int = 1
    thing: str = ""
    property: str = ""
    time: tuple[str, ...] = ("ts",)
    nested: Nested = Nested.FLATTEN
    base_name: BaseName = BaseName.IGNORE
    kind: Kind | None = None
    rename: dict[str, str] = {}
    units: dict[str, str] = {}
    thing_tags: tuple[str, ...] = ()
    ignore_tags: tuple[str, ...] = ()

    def names_things(self) -> bool:
        """Whether the payload says whose readings it holds."""
        many = (Format.THINGSBOARD_GATEWAY, Format.LINE_PROTOCOL, Format.BUNDLE)
        return self.format in many or self.base_name is BaseName.THING

    def label(self) -> str:
        """Name and version, as a Batch carries them."""
        return f"{self.name}@{self.version}"


class MappingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of `[[mapping]]` tables."""

    mapping: tuple[Mapping, ...]


def load_mappings(text: str, where: str) -> tuple[Mapping, ...]:
    """The mappings of a TOML file, in its order; their units as UCUM codes.

    Args:
        text: the file's content.
        where: the file's name, for messages.

    Raises:
        ConfigError: with file and line, what is wrong and what to write instead.
    """
    mappings = read_toml(text, MappingFile, where).mapping
    names: set[str] = set()
    for index, mapping in enumerate(mappings):
        for key, message, remedy in _faults(mapping):
            raise located(Fault(f"$.mapping[{index}].{key}", f"{key}: {message}", remedy), text, where)
        if mapping.name in names:
            fault = Fault(f"$.mapping[{index}].name", f"{mapping.name} is defined twice.", "Give it another name.")
            raise located(fault, text, where)
        names.add(mapping.name)
    return tuple(replace(mapping, units=_codes(mapping.units)) for mapping in mappings)


def builtin_mappings() -> tuple[Mapping, ...]:
    """The mappings every project has: native topics, ThingsBoard's device API, SenML."""
    return load_mappings(files(__package__).joinpath("builtin.toml").read_text("utf-8"), "builtin.toml")


def _codes(units: dict[str, str]) -> dict[str, str]:
    return {name: alias(unit) or unit for name, unit in units.items()}


def _faults(mapping: Mapping) -> Iterator[tuple[str, str, str]]:
    """What the types alone cannot refuse: key, message, remedy."""
    if not _NAME.fullmatch(mapping.name):
        yield "name", f"{mapping.name[:80]!r} cannot name a mapping.", "Use lower-case letters, digits and hyphens."
    if mapping.version < 1:
        yield "version", f"{mapping.version} is not a version.", "Count from 1 up, one more at each change."
    try:
        captures = parse_pattern(mapping.topic).captures
    except ValueError as error:
        yield "topic", f"{error}.", "Write levels such as plant/{thing}/+/{property}."
        return
    yield from _naming_faults(mapping, captures)
    for name, unit in mapping.units.items():
        if alias(unit) is None:
            yield f"units.{name}", f"{unit[:80]!r} is not a unit.", "Write a UCUM code such as kW, kW.h, Cel or %."


def _naming_faults(mapping: Mapping, captures: Collection[str]) -> Iterator[tuple[str, str, str]]:
    if mapping.format is Format.LINE_PROTOCOL:
        if mapping.property and "{field}" not in mapping.property:
            yield "property", "all fields of a line would be one property.", "Write {field} into it."
        return
    for key in ("thing_tags", "ignore_tags"):
        if getattr(mapping, key):
            yield key, f"{mapping.format} payloads have no tags.", 'Leave it out, or write format = "line-protocol".'
    for key, template in (("thing", mapping.thing), ("property", mapping.property)):
        for name in CAPTURE.findall(template):
            if name not in captures:
                yield key, f"the topic has no {{{name}}}.", f"Write {{{name}}} for a level of the topic."
    has_property = bool(mapping.property) or "property" in captures
    if mapping.format is Format.SCALAR and not has_property:
        yield "format", "a scalar needs a property.", 'Write {property} into the topic, or property = "power".'
    if mapping.format is not Format.SCALAR and has_property:
        yield "format", f"{mapping.format} payloads name their properties.", 'Write format = "scalar", or no property.'
    if mapping.format is Format.THINGSBOARD_GATEWAY and (mapping.thing or "thing" in captures):
        yield "format", "a gateway's payload names its things.", 'Write format = "thingsboard", or no thing.'


_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
