"""Payloads to bytes; raises SparkplugError for a value that its type cannot hold."""

from collections.abc import Callable
from typing import Any

from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.kinds import BASIC, SIGNED, TEXTS, UNSIGNED, DataType, in_field
from taihu.protocols.sparkplug.payload import (
    DataSet,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Properties,
    PropertyValue,
    Template,
)
from taihu.protocols.sparkplug.wire import bytes_field, double_field, float_field, text_field, varint_field

_LONG = (DataType.INT64, DataType.UINT64, DataType.DATETIME)
_FIELDS: dict[int, tuple[int, Callable[[int, Any], bytes]]] = {
    **dict.fromkeys((*SIGNED, *UNSIGNED), (0, varint_field)),
    **dict.fromkeys(_LONG, (1, varint_field)),
    DataType.FLOAT: (2, float_field),
    DataType.DOUBLE: (3, double_field),
    DataType.BOOLEAN: (4, varint_field),
    **dict.fromkeys(TEXTS, (5, text_field)),
}
"""By data type: how far its field is from the first of a oneof of values, and how it is written."""


def encode(payload: Payload, with_kinds: bool = True) -> bytes:
    """The bytes of a payload. `with_kinds` false leaves metrics' types out, as DATA and CMD messages should.

    >>> encode(Payload(seq=3, metrics=(Metric(name="a", kind=DataType.INT8, value=-1),))).hex()
    '120b0a0161200150ffffffff0f1803'
    """
    out = [_optional_number(1, payload.timestamp)]
    out += [bytes_field(2, _metric(one, with_kinds)) for one in payload.metrics]
    out.append(_optional_number(3, payload.seq))
    if payload.uuid is not None:
        out.append(text_field(4, payload.uuid))
    if payload.body is not None:
        out.append(bytes_field(5, payload.body))
    return b"".join(out)


def _metric(metric: Metric, with_kinds: bool) -> bytes:
    out = b"" if metric.name is None else text_field(1, metric.name)
    out += _optional_number(2, metric.alias) + _optional_number(3, metric.timestamp)
    if with_kinds:
        out += varint_field(4, metric.kind)
    if metric.historical:
        out += varint_field(5, 1)
    if metric.transient:
        out += varint_field(6, 1)
    if metric.value is None:
        out += varint_field(7, 1)
    if metric.metadata is not None:
        out += bytes_field(8, _metadata(metric.metadata))
    if metric.properties is not None:
        out += bytes_field(9, _properties(metric.properties))
    if metric.value is not None:
        out += _metric_value(metric.kind, metric.value, with_kinds)
    return out


def _metric_value(kind: int, value: Any, with_kinds: bool) -> bytes:
    if kind in BASIC:
        return _value(10, kind, value)
    if isinstance(value, DataSet) and kind == DataType.DATASET:
        return bytes_field(17, _dataset(value))
    if isinstance(value, Template) and kind == DataType.TEMPLATE:
        return bytes_field(18, _template(value, with_kinds))
    return bytes_field(16, in_field(kind, value))


def _value(first: int, kind: int, value: Any) -> bytes:
    """A value in its field of a oneof that begins at a number: int, long, float, double, boolean, string."""
    if kind not in BASIC:
        raise SparkplugError(f"A value of type {kind} cannot stand here.")
    held = in_field(kind, value)
    place, write = _FIELDS[kind]
    return write(first + place, held)


def _metadata(given: MetaData) -> bytes:
    out = []
    for number, name in enumerate(MetaData.__struct_fields__, 1):
        value = getattr(given, name)
        if isinstance(value, str):
            out.append(text_field(number, value))
        elif value is not None:
            out.append(varint_field(number, value))
    return b"".join(out)


def _properties(given: Properties) -> bytes:
    keys = [text_field(1, key) for key in given]
    return b"".join(keys + [bytes_field(2, _property(value)) for value in given.values()])


def _property(given: PropertyValue) -> bytes:
    kind, value = given.kind, given.value
    head = varint_field(1, kind)
    if value is None:
        return head + varint_field(2, 1)
    if kind == DataType.PROPERTY_SET and isinstance(value, dict):
        return head + bytes_field(9, _properties(value))
    if kind == DataType.PROPERTY_SET_LIST and isinstance(value, tuple):
        return head + bytes_field(10, b"".join(bytes_field(1, _properties(one)) for one in value))
    return head + _value(3, kind, value)


def _dataset(given: DataSet) -> bytes:
    if len(given.columns) != len(given.kinds) or any(len(row) != len(given.columns) for row in given.rows):
        raise SparkplugError("A data set has rows or types that do not go with its columns.")
    out = [varint_field(1, len(given.columns))]
    out += [text_field(2, name) for name in given.columns]
    out += [varint_field(3, kind) for kind in given.kinds]
    for row in given.rows:
        cells = (b"" if cell is None else _value(1, kind, cell) for kind, cell in zip(given.kinds, row, strict=True))
        out.append(bytes_field(4, b"".join(bytes_field(1, cell) for cell in cells)))
    return b"".join(out)


def _template(given: Template, with_kinds: bool) -> bytes:
    if given.definition == (given.ref is not None):
        raise SparkplugError("A template's definition has no reference, and an instance has one.")
    out = [] if given.version is None else [text_field(1, given.version)]
    out += [bytes_field(2, _metric(member, with_kinds)) for member in given.members]
    out += [bytes_field(3, _parameter(one)) for one in given.parameters]
    if given.ref is not None:
        out.append(text_field(4, given.ref))
    return b"".join([*out, varint_field(5, given.definition)])


def _parameter(given: Parameter) -> bytes:
    head = text_field(1, given.name) + varint_field(2, given.kind)
    return head if given.value is None else head + _value(3, given.kind, given.value)


def _optional_number(field: int, value: int | None) -> bytes:
    return b"" if value is None else varint_field(field, value)
