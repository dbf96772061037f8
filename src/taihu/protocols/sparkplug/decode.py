"""Bytes to payloads. Any bytes give a payload or SparkplugError; fields that Sparkplug does not know are skipped.

The usual metric (a short name or an alias, a time, a type and one plain value, in the order in which every encoder
writes them) is taken by one match of a regular expression; all others go field by field.
"""

import re
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.kinds import BASIC, READ, DataType, typed
from taihu.protocols.sparkplug.payload import (
    DEPTH_MAX,
    PARTS_MAX,
    PAYLOAD_BYTES_MAX,
    DataSet,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Properties,
    PropertyValue,
    Template,
)
from taihu.protocols.sparkplug.wire import FIXED32, FIXED64, GROUP, LENGTH, VARINT, field, varint

_NUMBER = rb"([\x80-\xff]{0,8}[\0-\x7f])"
_usual = re.compile(
    rb"(?:\x10" + _NUMBER + rb")?(?:\x18" + _NUMBER + rb")?(?:\x20([\x01-\x22]))?"
    rb"(?:\x50" + _NUMBER + rb"|\x58" + _NUMBER + rb"|\x65(.{4})|\x69(.{8})|\x70([\0\x01])|\x7a([\0-\x7f])(.*))",
    re.DOTALL,
).fullmatch
_float32, _float64 = struct.Struct("<f").unpack, struct.Struct("<d").unpack
_METRIC, _NAME = 0x12, 0x0A
_MASK_32 = 0xFFFFFFFF


def decode(data: bytes) -> Payload:
    r"""The payload of a message; raises SparkplugError.

    >>> decode(b"\x08\x07\x12\x07\x0a\x01a\x20\x03\x50\x02\x18\x05").metrics[0].value
    2
    """
    if len(data) > PAYLOAD_BYTES_MAX:
        raise SparkplugError(f"A payload of {len(data)} bytes is over the limit of {PAYLOAD_BYTES_MAX}.")
    try:
        return _Reader(data).payload()
    except (UnicodeDecodeError, IndexError) as error:
        raise SparkplugError(f"It is no Sparkplug payload: {error}.") from None


class _Reader:
    """One payload."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._parts = 0

    def payload(self) -> Payload:
        end = len(self.data)
        metrics: list[Metric] = []
        found: dict[str, Any] = {}
        at = 0
        while at < end:
            at = self._metrics(at, end, metrics)
            if at < end:
                number, wire, value, at = field(self.data, at, end)
                self._take(found, _PAYLOAD.get(number), wire, value, 0)
        metrics += found.get("metrics", ())
        return Payload(found.get("timestamp"), tuple(metrics), found.get("seq"), found.get("uuid"), found.get("body"))

    def _metrics(self, at: int, end: int, metrics: list[Metric]) -> int:
        """Take metrics that follow each other; returns the place after them. This is the hot loop."""
        data, add, read, usual = self.data, metrics.append, READ, _usual
        stamps: dict[bytes | None, int | None] = {None: None}
        before = len(metrics)
        while at < end and data[at] == _METRIC:
            length = data[at + 1]
            begin = at + 2
            if length > 0x7F:
                length, begin = varint(data, at + 1, end)
            after = begin + length
            if after > end:
                raise SparkplugError("A metric is longer than its payload.")
            name = None
            at = begin
            if length > 2 and data[at] == _NAME and data[at + 1] < 0x80:
                at = begin + 2 + data[begin + 1]
                name = data[begin + 2 : at].decode()
            match = usual(data, at, after)
            value: Any = None
            if match is not None:
                alias, stamp, kind, whole, long, single, double, boolean, size, text = match.groups()
                if whole is not None:
                    value = whole[0] if len(whole) == 1 else _number(whole) & _MASK_32
                elif double is not None:
                    value = _float64(double)[0]
                elif single is not None:
                    value = _float32(single)[0]
                elif boolean is not None:
                    value = boolean == b"\1"
                elif long is not None:
                    value = _number(long)
                elif len(text) == size[0]:
                    value = text.decode()
                else:
                    match = None
            if match is None:
                add(self.metric((begin, after), 0))
                at = after
                continue
            at = after
            if stamp not in stamps:
                stamps[stamp] = _number(stamp)
            number = 0
            if kind is not None:
                number = kind[0]
                value = read[number](value) if number in read else typed(number, value)
            add(Metric(name, None if alias is None else _number(alias), stamps[stamp], number, value))
        self._count(len(metrics) - before)
        return at

    def metric(self, span: tuple[int, int], depth: int) -> Metric:
        found = self._message(span, _METRIC_FIELDS, depth)
        kind = found.get("kind", 0)
        value = None if found.get("null") else found.get("value")
        return Metric(
            found.get("name"),
            found.get("alias"),
            found.get("timestamp"),
            kind,
            typed(kind, value) if kind else value,
            found.get("historical", False),
            found.get("transient", False),
            found.get("metadata"),
            found.get("properties"),
        )

    def metadata(self, span: tuple[int, int], depth: int) -> MetaData:
        return MetaData(**self._message(span, _METADATA, depth))

    def properties(self, span: tuple[int, int], depth: int) -> Properties:
        found = self._message(span, _PROPERTY_SET, depth)
        keys, values = found.get("keys", []), found.get("values", [])
        if len(keys) != len(values):
            raise SparkplugError(f"A property set has {len(keys)} keys and {len(values)} values.")
        return dict(zip(keys, values, strict=True))

    def property_value(self, span: tuple[int, int], depth: int) -> PropertyValue:
        found = self._message(span, _PROPERTY, depth)
        kind = found.get("kind", 0)
        value = None if found.get("null") else found.get("value")
        if kind and value is not None:
            if kind in BASIC:
                value = typed(kind, value)
            elif {DataType.PROPERTY_SET: dict, DataType.PROPERTY_SET_LIST: tuple}.get(kind) is not type(value):
                raise SparkplugError(f"A property of type {kind} holds a {type(value).__name__}.")
        return PropertyValue(kind, value)

    def property_sets(self, span: tuple[int, int], depth: int) -> tuple[Properties, ...]:
        return tuple(self._message(span, _PROPERTY_SETS, depth).get("sets", ()))

    def dataset(self, span: tuple[int, int], depth: int) -> DataSet:
        found = self._message(span, _DATASET, depth)
        columns, kinds = tuple(found.get("columns", ())), tuple(found.get("kinds", ()))
        if len(columns) != len(kinds) or len(columns) != found.get("count", len(columns)):
            raise SparkplugError(f"A data set has {len(columns)} columns, and {len(kinds)} types of columns.")
        if not BASIC.issuperset(kinds):
            raise SparkplugError("A column of a data set has a type that no column can have.")
        rows = found.get("rows", ())
        for row in rows:
            if len(row) != len(columns):
                raise SparkplugError(f"A row of {len(row)} stands in a data set of {len(columns)} columns.")
        typed_rows = (tuple(map(typed, kinds, row)) for row in rows)
        return DataSet(columns, kinds, tuple(typed_rows))

    def row(self, span: tuple[int, int], depth: int) -> list[Any]:
        cells: list[Any] = self._message(span, _ROW, depth).get("cells", [])
        return cells

    def cell(self, span: tuple[int, int], depth: int) -> Any:
        return self._message(span, _CELL, depth).get("value")

    def template(self, span: tuple[int, int], depth: int) -> Template:
        found = self._message(span, _TEMPLATE, depth)
        members, parameters = tuple(found.get("members", ())), tuple(found.get("parameters", ()))
        return Template(found.get("ref"), found.get("definition", False), members, parameters, found.get("version"))

    def parameter(self, span: tuple[int, int], depth: int) -> Parameter:
        found = self._message(span, _PARAMETER, depth)
        kind, value = found.get("kind", 0), found.get("value")
        if "name" not in found:
            raise SparkplugError("A parameter of a template has no name.")
        if kind and kind not in BASIC:
            raise SparkplugError(f"A parameter of a template has the type {kind}.")
        return Parameter(found["name"], kind, typed(kind, value))

    def _message(self, span: tuple[int, int], known: dict[int, "_Field"], depth: int) -> dict[str, Any]:
        """The fields of a message by name; a repeated one is a list."""
        if depth > DEPTH_MAX:
            raise SparkplugError(f"It is nested deeper than {DEPTH_MAX}.")
        at, end = span
        found: dict[str, Any] = {}
        while at < end:
            number, wire, value, at = field(self.data, at, end)
            self._take(found, known.get(number), wire, value, depth)
        return found

    def _take(self, found: dict[str, Any], known: "_Field | None", wire: int, value: Any, depth: int) -> None:
        if known is None or wire == GROUP:
            return
        if known.repeated and known.wire == VARINT and wire == LENGTH:  # packed
            at, end = value
            while at < end:
                one, at = varint(self.data, at, end)
                self._take(found, known, VARINT, one, depth)
            return
        if wire != known.wire:
            raise SparkplugError(f"The field {known.name} has the wire type {wire}.")
        read = known.read(self, value, depth + 1)
        if known.repeated:
            self._count(1)
            found.setdefault(known.name, []).append(read)
        else:
            found[known.name] = read

    def _count(self, number: int) -> None:
        self._parts += number
        if self._parts > PARTS_MAX:
            raise SparkplugError(f"A payload has more than {PARTS_MAX} metrics, cells and properties.")


def _number(raw: bytes) -> int:
    """A varint that has its end."""
    if len(raw) == 1:
        return raw[0]
    value = shift = 0
    for byte in raw:
        value |= (byte & 0x7F) << shift
        shift += 7
    return value


class _Field(NamedTuple):
    """A field of a message: its name, wire type, and how its value is read."""

    name: str
    wire: int
    read: Callable[[_Reader, Any, int], Any]
    repeated: bool = False


def _int(name: str, repeated: bool = False) -> _Field:
    return _Field(name, VARINT, lambda reader, value, depth: value & _MASK_32, repeated)


def _long(name: str) -> _Field:
    return _Field(name, VARINT, lambda reader, value, depth: value)


def _boolean(name: str) -> _Field:
    return _Field(name, VARINT, lambda reader, value, depth: value != 0)


def _text(name: str, repeated: bool = False) -> _Field:
    return _Field(name, LENGTH, lambda reader, value, depth: reader.data[slice(*value)].decode(), repeated)


def _blob(name: str) -> _Field:
    return _Field(name, LENGTH, lambda reader, value, depth: reader.data[slice(*value)])


def _values(first: int) -> dict[int, _Field]:
    """The fields of a oneof of values: int, long, float, double, boolean, string, from a number on."""
    return {
        first: _int("value"),
        first + 1: _long("value"),
        first + 2: _Field("value", FIXED32, lambda reader, value, depth: _float32(reader.data[slice(*value)])[0]),
        first + 3: _Field("value", FIXED64, lambda reader, value, depth: _float64(reader.data[slice(*value)])[0]),
        first + 4: _boolean("value"),
        first + 5: _text("value"),
    }


_PAYLOAD = {1: _long("timestamp"), 2: _Field("metrics", LENGTH, _Reader.metric, True), 3: _long("seq"),
            4: _text("uuid"), 5: _blob("body")}  # fmt: skip
_METRIC_FIELDS = {
    1: _text("name"), 2: _long("alias"), 3: _long("timestamp"), 4: _int("kind"), 5: _boolean("historical"),
    6: _boolean("transient"), 7: _boolean("null"), 8: _Field("metadata", LENGTH, _Reader.metadata),
    9: _Field("properties", LENGTH, _Reader.properties), **_values(10), 16: _blob("value"),
    17: _Field("value", LENGTH, _Reader.dataset), 18: _Field("value", LENGTH, _Reader.template),
}  # fmt: skip
_METADATA = {1: _boolean("is_multi_part"), 2: _text("content_type"), 3: _long("size"), 4: _long("seq"),
             5: _text("file_name"), 6: _text("file_type"), 7: _text("md5"), 8: _text("description")}  # fmt: skip
_PROPERTY_SET = {1: _text("keys", True), 2: _Field("values", LENGTH, _Reader.property_value, True)}
_PROPERTY = {1: _int("kind"), 2: _boolean("null"), **_values(3), 9: _Field("value", LENGTH, _Reader.properties),
             10: _Field("value", LENGTH, _Reader.property_sets)}  # fmt: skip
_PROPERTY_SETS = {1: _Field("sets", LENGTH, _Reader.properties, True)}
_DATASET = {1: _long("count"), 2: _text("columns", True), 3: _int("kinds", True),
            4: _Field("rows", LENGTH, _Reader.row, True)}  # fmt: skip
_ROW = {1: _Field("cells", LENGTH, _Reader.cell, True)}
_CELL = _values(1)
_TEMPLATE = {1: _text("version"), 2: _Field("members", LENGTH, _Reader.metric, True),
             3: _Field("parameters", LENGTH, _Reader.parameter, True), 4: _text("ref"),
             5: _boolean("definition")}  # fmt: skip
_PARAMETER = {1: _text("name"), 2: _int("kind"), **_values(3)}
