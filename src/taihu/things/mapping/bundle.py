"""Bundles: what one node tells another, batches of its journal with the definitions of what they hold, compressed."""

import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from taihu.kernel.errors import TaihuError
from taihu.kernel.limits import Limits
from taihu.things.batch import FLAG_SUSPECT, Batch, Column, decode_batch
from taihu.things.definition import check_definition
from taihu.things.mapping.errors import PayloadError
from taihu.things.mapping.reading import Source, too_many, tree
from taihu.things.ports import Refusal, Row
from taihu.things.property import Property

VERSION = 1


class _Bundle(msgspec.Struct, frozen=True, array_like=True):
    """The content: definitions by thing, and batches as `encode_batch` writes them."""

    version: int
    definitions: dict[str, tuple[Property, ...]]
    batches: tuple[bytes, ...]


def pack(definitions: Mapping[str, Sequence[Property]], batches: Sequence[bytes]) -> bytes:
    """The payload for batches of one project, with the definitions of all properties in them."""
    things = {thing: tuple(found) for thing, found in definitions.items()}
    return zlib.compress(_encode(_Bundle(VERSION, things, tuple(batches))))


def bundle(source: Source, payload: bytes, received_at: int) -> list[Row | Refusal]:
    """The rows of a bundle, each with the definitions that its sender goes by; raises PayloadError."""
    content = _unpacked(payload, source.limits)
    rows: list[Row | Refusal] = []
    definitions = {thing: _definitions(found) for thing, found in content.definitions.items()}
    for data in content.batches:
        try:
            batch = decode_batch(data)
        except msgspec.DecodeError:
            raise _bad_form("a batch is none") from None
        if len(rows) + len(batch) > source.limits.payload_rows_max:
            raise too_many("rows", source.limits.payload_rows_max)
        rows += _rows(batch, definitions, source.limits)
    return rows


def parts(batch: Batch, rows_max: int) -> Iterator[Batch]:
    """A batch as batches of at most `rows_max` rows."""
    count = len(batch)
    if count <= rows_max:
        yield batch
        return
    for begin in range(0, count, rows_max):
        part = slice(begin, min(begin + rows_max, count))
        yield msgspec.structs.replace(
            batch,
            thing_of=_cut(batch.thing_of, part, 4),
            observed=_cut(batch.observed, part, 8),
            flags=_cut(batch.flags, part, 1),
            columns=tuple(_cut_column(column, part) for column in batch.columns),
            gaps=b"",
        )


def _unpacked(payload: bytes, limits: Limits) -> _Bundle:
    """The content of a payload; never more than `bundle_bytes_max` of it in memory."""
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(payload, limits.bundle_bytes_max)
    except zlib.error:
        raise _bad_form("it is not compressed as RFC 1950 says") from None
    if inflate.unconsumed_tail:
        raise too_many("bytes", limits.bundle_bytes_max)
    try:
        content = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _bad_form("its content is none") from None
    if content.version != VERSION:
        raise _bad_form(f"it is of version {content.version}, which this release does not know")
    return content


def _definitions(found: Sequence[Property]) -> tuple[dict[str, Property], dict[str, str]]:
    """Definitions, and units, by property."""
    try:
        known = {one.name: check_definition(one) for one in found}
    except TaihuError as error:
        raise _bad_form(error.message) from None
    return known, {name: one.unit for name, one in known.items() if one.unit is not None}


def _rows(
    batch: Batch, definitions: Mapping[str, tuple[dict[str, Property], dict[str, str]]], limits: Limits
) -> Iterator[Row | Refusal]:
    columns = [column.values() for column in batch.columns]
    things = [batch.things[index] for index in array("i", batch.thing_of)] or batch.things * len(batch)
    times = array("q", batch.observed)
    flags = batch.flags or bytes(len(batch))
    for thing, moment, flag, *values in zip(things, times, flags, *columns, strict=True):
        known, units = definitions.get(thing, ({}, {}))
        try:
            named = zip(batch.properties, values, strict=True)
            found = {name: tree(value, limits) for name, value in named if value == value}  # NaN is silence
        except PayloadError as error:
            yield Refusal(str(error), repr(values)[:200].encode())
            continue
        present = {name: value for name, value in found.items() if value is not None}
        if present:
            yield Row(present, moment, thing, units, known, suspect=bool(flag & FLAG_SUSPECT))


def _cut(data: bytes, part: slice, width: int) -> bytes:
    return data[part.start * width : part.stop * width]


def _cut_column(column: Column, part: slice) -> Column:
    if column.code == "o":
        return Column("o", _encode(column.values()[part]))
    return Column(column.code, _cut(column.data, part, 1 if column.code == "b" else 8))


def _bad_form(why: str) -> PayloadError:
    return PayloadError("bad-bundle", f"This is no bundle: {why}.", "Run the same release on both nodes.")


_encode: Any = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Bundle).decode
