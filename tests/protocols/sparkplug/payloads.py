"""Payloads for property tests: everything that can be said."""

from hypothesis import strategies as st

from taihu.protocols.sparkplug.kinds import PACKED, DataType
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

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_u64 = st.integers(0, 2**64 - 1)
_f32 = st.floats(width=32, allow_nan=False)
_f64 = st.floats(allow_nan=False)


def _signed(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)


BASIC: dict[DataType, st.SearchStrategy[object]] = {
    DataType.INT8: _signed(8), DataType.INT16: _signed(16), DataType.INT32: _signed(32), DataType.INT64: _signed(64),
    DataType.UINT8: st.integers(0, 255), DataType.UINT16: st.integers(0, 65_535),
    DataType.UINT32: st.integers(0, 2**32 - 1), DataType.UINT64: _u64, DataType.FLOAT: _f32, DataType.DOUBLE: _f64,
    DataType.BOOLEAN: st.booleans(), DataType.STRING: _text, DataType.DATETIME: _u64, DataType.TEXT: _text,
    DataType.UUID: st.uuids().map(str),
}  # fmt: skip
_ELEMENTS: dict[DataType, st.SearchStrategy[object]] = {
    DataType.FLOAT_ARRAY: _f32, DataType.DOUBLE_ARRAY: _f64, DataType.BOOLEAN_ARRAY: st.booleans(),
    DataType.STRING_ARRAY: st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9),
    DataType.DATETIME_ARRAY: _u64,
    **{kind: BASIC[DataType(kind - DataType.INT8_ARRAY + 1)] for kind in PACKED if kind <= DataType.UINT64_ARRAY},
}  # fmt: skip


def _of(kinds: dict[DataType, st.SearchStrategy[object]]) -> st.SearchStrategy[tuple[DataType, object]]:
    return st.sampled_from(list(kinds)).flatmap(lambda kind: st.tuples(st.just(kind), st.none() | kinds[kind]))


def _dataset(kinds: list[DataType]) -> st.SearchStrategy[DataSet]:
    row = st.tuples(*(st.none() | BASIC[kind] for kind in kinds))
    columns = st.lists(_text, min_size=len(kinds), max_size=len(kinds)).map(tuple)
    return st.builds(DataSet, columns, st.just(tuple(map(int, kinds))), st.lists(row, max_size=3).map(tuple))


DATASETS = st.lists(st.sampled_from(list(BASIC)), max_size=3).flatmap(_dataset)
_plain_property = _of(BASIC).map(lambda pair: PropertyValue(*pair))


def _sets(value: st.SearchStrategy[PropertyValue]) -> st.SearchStrategy[Properties]:
    return st.dictionaries(_text, value, max_size=3)


PROPERTIES: st.SearchStrategy[Properties] = _sets(
    _plain_property
    | _sets(_plain_property).map(lambda one: PropertyValue(DataType.PROPERTY_SET, one))
    | st.lists(_sets(_plain_property), max_size=2).map(
        lambda one: PropertyValue(DataType.PROPERTY_SET_LIST, tuple(one))
    )
)
_optional = st.none() | _text
METADATA = st.builds(
    MetaData,
    is_multi_part=st.none() | st.booleans(),
    content_type=_optional,
    size=st.none() | _u64,
    file_name=_optional,
)
_VALUES = {
    **BASIC,
    **{kind: st.lists(one, max_size=4) for kind, one in _ELEMENTS.items()},
    DataType.BYTES: st.binary(max_size=9),
    DataType.FILE: st.binary(max_size=9),
    DataType.DATASET: DATASETS,
}


def _metric(values: st.SearchStrategy[tuple[DataType, object]]) -> st.SearchStrategy[Metric]:
    return st.builds(
        lambda pair, **rest: Metric(kind=int(pair[0]), value=pair[1], **rest),
        values,
        name=_optional,
        alias=st.none() | _u64,
        timestamp=st.none() | _u64,
        historical=st.booleans(),
        transient=st.booleans(),
        metadata=st.none() | METADATA,
        properties=st.none() | PROPERTIES,
    )


_parameter = st.builds(lambda name, pair: Parameter(name, int(pair[0]), pair[1]), _text, _of(BASIC))
_lists = {"members": st.lists(_metric(_of(_VALUES)), max_size=2).map(tuple),
          "parameters": st.lists(_parameter, max_size=2).map(tuple), "version": _optional}  # fmt: skip
TEMPLATES = st.builds(Template, ref=_text, **_lists) | st.builds(Template, definition=st.just(True), **_lists)
_ALL = {**_VALUES, DataType.TEMPLATE: TEMPLATES}
PAYLOADS = st.builds(
    Payload,
    timestamp=st.none() | _u64,
    metrics=st.lists(_metric(_of(_ALL)), max_size=4).map(tuple),
    seq=st.none() | st.integers(0, 255),
    uuid=_optional,
    body=st.none() | st.binary(max_size=9),
)
