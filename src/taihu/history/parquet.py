"""A Parquet writer for merged files: plain Parquet to every reader, with differences packed into whole bytes.

DELTA_BINARY_PACKED leaves the width of a block's differences to the writer. Others take as few bits as will do, which
an entropy coder after them cannot see through; whole bytes above one base let deflate code each difference by how
frequent it is. A value that drifts takes 0.5 bytes so, and 0.8 to 1.1 in the fewest bits with zstd.

Handles flat files of optional columns, one page to a column of a row group, GZIP. It does not handle nesting,
dictionaries or encryption. Formats: parquet-format 2.9, `parquet.thrift` and `Encodings.md`.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.history.thrift import Struct, binary, i32, i64, items, struct, text, varint, zigzag
from taihu.kernel.files import AppendFile

_BLOCK, _MINIBLOCKS = 1024, 32
_VALUES = _BLOCK // _MINIBLOCKS  # of a miniblock
_POWERS = np.array([1 << bits for bits in range(0, 64, 8)], np.uint64)
_BASE = 128  # below the usual difference
_LEVEL, _SAMPLE = 6, 8192
_MAGIC = b"PAR1"
_GZIP, _DATA_PAGE, _OPTIONAL = 2, 0, 1
_PLAIN, _RLE, _DELTA, _SPLIT = 0, 3, 5, 9
_BOOLEAN, _INT32, _INT64, _DOUBLE, _BYTE_ARRAY = 0, 1, 2, 5, 6
_UTF8, _DECIMAL, _INT8 = 0, 5, 15


class Field(msgspec.Struct, frozen=True):
    """A column: `kind` is int8, int32, int64, decimal (int64 scaled by 10**places), double, bool or text."""

    name: str
    kind: str
    places: int = 0


_PHYSICAL = {
    "int8": _INT32,
    "int32": _INT32,
    "int64": _INT64,
    "decimal": _INT64,
    "double": _DOUBLE,
    "bool": _BOOLEAN,
    "text": _BYTE_ARRAY,
}
_ENCODING = {"double": _SPLIT, "bool": _PLAIN, "text": _PLAIN}


class ParquetWriter:
    """Writes one file from its start; `close` writes the footer and leaves the file open."""

    def __init__(self, file: AppendFile, fields: Sequence[Field]) -> None:
        self._file = file
        self._fields = fields
        self._groups: list[Struct] = []
        self._rows = 0
        self._offset = 0
        self.crc32 = 0  # of what was written
        self._put(_MAGIC)

    def add(self, columns: Sequence[Any]) -> None:
        """Write a row group: an array for each field, masked where a row has no value."""
        rows = len(columns[0])
        begin = self._offset
        chunks = [self._chunk(field, column, rows) for field, column in zip(self._fields, columns, strict=True)]
        self._groups.append(struct({1: items(chunks), 2: i64(self._offset - begin), 3: i64(rows)}))
        self._rows += rows

    def close(self) -> None:
        """Write the footer."""
        root = struct({4: text("schema"), 5: i32(len(self._fields))})
        ordered = struct({1: struct({})})
        footer = struct(
            {
                1: i32(2),
                2: items([root, *map(_schema, self._fields)]),
                3: i64(self._rows),
                4: items(self._groups),
                6: text("taihu"),
                7: items([ordered] * len(self._fields)),
            }
        ).data
        self._put(footer + len(footer).to_bytes(4, "little") + _MAGIC)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._offset += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)

    def _chunk(self, field: Field, column: Any, rows: int) -> Struct:
        known = ~np.ma.getmaskarray(column)
        values = np.ma.getdata(column)[known]
        levels = _levels(known)
        body = len(levels).to_bytes(4, "little") + levels + _encode(field, values)
        packed = _deflate(body)
        encoding = _ENCODING.get(field.kind, _DELTA)
        page = struct({1: i32(rows), 2: i32(encoding), 3: i32(_RLE), 4: i32(_RLE)})
        header = struct({1: i32(_DATA_PAGE), 2: i32(len(body)), 3: i32(len(packed)), 5: page}).data
        offset = self._offset
        self._put(header + packed)
        about: dict[int, Any] = {
            1: i32(_PHYSICAL[field.kind]),
            2: items([i32(encoding), i32(_RLE)]),
            3: items([text(field.name)]),
            4: i32(_GZIP),
            5: i64(rows),
            6: i64(len(header) + len(body)),
            7: i64(len(header) + len(packed)),
            9: i64(offset),
        }
        if encoding == _DELTA and len(values):
            about[12] = _statistics(field, values, rows)
        return struct({2: i64(offset), 3: struct(about)})


def _schema(field: Field) -> Struct:
    about = {1: i32(_PHYSICAL[field.kind]), 3: i32(_OPTIONAL), 4: text(field.name)}
    match field.kind:
        case "decimal":
            about |= {6: i32(_DECIMAL), 7: i32(field.places), 8: i32(18)}
        case "text":
            about[6] = i32(_UTF8)
        case "int8":
            about[6] = i32(_INT8)
    return struct(about)


def _statistics(field: Field, values: NDArray[Any], rows: int) -> Struct:
    size = 4 if _PHYSICAL[field.kind] == _INT32 else 8
    low, high = (int(edge).to_bytes(size, "little", signed=True) for edge in (values.min(), values.max()))
    return struct({3: i64(rows - len(values)), 5: binary(high), 6: binary(low)})


def _encode(field: Field, values: NDArray[Any]) -> bytes:
    match field.kind:
        case "double":
            return values.astype("<f8").view(np.uint8).reshape(-1, 8).T.tobytes()
        case "bool":
            return np.packbits(values.astype(np.bool_), bitorder="little").tobytes()
        case "text":
            encoded = [value.encode() for value in values.tolist()]
            return b"".join([len(value).to_bytes(4, "little") + value for value in encoded])
    return pack_deltas(values.astype(np.int64), 4 if _PHYSICAL[field.kind] == _INT32 else 8)


def _levels(known: NDArray[np.bool_]) -> bytes:
    """Which rows have a value, in Parquet's hybrid of runs and bits."""
    edges = np.flatnonzero(np.diff(known)) + 1
    if len(edges) * 16 > len(known):
        bits = np.packbits(known, bitorder="little")
        return varint(len(bits) << 1 | 1) + bits.tobytes()
    starts = [0, *edges.tolist()]
    ends = [*starts[1:], len(known)]
    pairs = zip(starts, ends, strict=True)
    return b"".join([varint((end - start) << 1) + bytes([int(known[start])]) for start, end in pairs if end > start])


def pack_deltas(values: NDArray[np.int64], width_max: int = 8) -> bytes:
    """DELTA_BINARY_PACKED, the differences of each miniblock in up to `width_max` whole bytes.

    Differences are taken above one base for the whole page where that costs no more, so that equal differences are
    equal bytes. One below its base wraps, as int64 does in every reader: a step back then widens its miniblock only.
    """
    first = int(values[0]) if len(values) else 0
    out = [varint(_BLOCK), varint(_MINIBLOCKS), varint(len(values)), varint(zigzag(first))]
    if len(values) < 2:
        return b"".join(out)
    deltas = values[1:] - values[:-1]
    blocks = np.pad(deltas, (0, -len(deltas) % _BLOCK), mode="edge").reshape(-1, _BLOCK)
    middle = np.sort(blocks, axis=1)[:, _BLOCK // 2]
    usual = np.full(len(blocks), np.sort(middle)[len(middle) // 2]) - _BASE  # wraps, as an array
    bases = np.stack([usual, middle, blocks.min(axis=1)])
    widths = np.stack([_widths(blocks, base) for base in bases])
    cost = np.where(widths > width_max, 1 << 16, widths).sum(axis=2)
    chosen = (cost.argmin(axis=0), np.arange(len(blocks)))
    low, width = bases[chosen], widths[chosen]
    width.reshape(-1)[-(-len(deltas) // _VALUES) :] = 0  # miniblocks that hold padding only
    above = (blocks - low[:, None]).reshape(-1, _VALUES)
    spans = width.reshape(-1)
    packed = [b""] * len(spans)
    for size in np.unique(spans[spans > 0]).tolist():
        where = np.flatnonzero(spans == size)
        data = above[where].astype("<i8").view(np.uint8).reshape(len(where), _VALUES, 8)[:, :, :size].tobytes()
        for index, place in enumerate(where.tolist()):
            packed[place] = data[index * size * _VALUES : (index + 1) * size * _VALUES]
    bits = (width * 8).astype(np.uint8)
    for index, base in enumerate(low.tolist()):
        out += [varint(zigzag(base)), bits[index].tobytes()]
        out += packed[index * _MINIBLOCKS : (index + 1) * _MINIBLOCKS]
    return b"".join(out)


def _widths(blocks: NDArray[np.int64], base: NDArray[np.int64]) -> NDArray[np.intp]:
    """Bytes that each miniblock needs above its block's base."""
    above = (blocks - base[:, None]).view(np.uint64).reshape(len(blocks), _MINIBLOCKS, _VALUES)
    return np.asarray(np.searchsorted(_POWERS, above.max(axis=2), side="right"))


def _deflate(body: bytes) -> bytes:
    """Bytes coded by their frequency alone, or with what repeats pointed to, as a sample of them tells."""
    middle = len(body) // 2
    sample = body[middle : middle + _SAMPLE]
    alone, pointed = (len(_gzip(sample, strategy)) for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY))
    return _gzip(body, zlib.Z_HUFFMAN_ONLY if alone <= pointed else zlib.Z_DEFAULT_STRATEGY)


def _gzip(body: bytes, strategy: int) -> bytes:
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31, 9, strategy)
    return deflate.compress(body) + deflate.flush()
