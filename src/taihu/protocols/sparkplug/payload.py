"""What a Sparkplug B payload holds (6.4). A value of None is null; times are milliseconds UTC."""

from collections.abc import Mapping
from typing import Any

import msgspec

PAYLOAD_BYTES_MAX = 16_777_216
PARTS_MAX = 200_000  # metrics, cells, properties and parameters of one payload together
DEPTH_MAX = 16  # templates in templates, property sets in property sets


class MetaData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said of a metric's value beside it, mostly of files."""

    is_multi_part: bool | None = None
    content_type: str | None = None
    size: int | None = None
    seq: int | None = None
    file_name: str | None = None
    file_type: str | None = None
    md5: str | None = None
    description: str | None = None


class PropertyValue(msgspec.Struct, frozen=True):
    """One property of a metric; a nested set is a mapping, a list of sets a tuple of mappings."""

    kind: int
    value: Any = None


Properties = Mapping[str, PropertyValue]


class Metric(msgspec.Struct, frozen=True):
    """One value, by name or by the alias that a birth gave it.

    `kind` is its DataType, 0 where the payload does not say it: then `value` is what stands in the value field, for
    `kinds.typed` to read with the type that the birth said.
    """

    name: str | None = None
    alias: int | None = None
    timestamp: int | None = None
    kind: int = 0
    value: Any = None
    historical: bool = False
    transient: bool = False
    metadata: MetaData | None = None
    properties: Properties | None = None


class DataSet(msgspec.Struct, frozen=True):
    """A table; `kinds` are the types of its columns."""

    columns: tuple[str, ...]
    kinds: tuple[int, ...]
    rows: tuple[tuple[Any, ...], ...] = ()


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a template."""

    name: str
    kind: int
    value: Any = None


class Template(msgspec.Struct, frozen=True):
    """A template's definition, or an instance of the definition that `ref` names."""

    ref: str | None = None
    definition: bool = False
    members: tuple[Metric, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    version: str | None = None


class Payload(msgspec.Struct, frozen=True):
    """One message's payload."""

    timestamp: int | None = None
    metrics: tuple[Metric, ...] = ()
    seq: int | None = None
    uuid: str | None = None
    body: bytes | None = None
