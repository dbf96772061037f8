"""A Parquet writer for merged files: plain Parquet to every reader, with differences packed into whole bytes.

DELTA_BINARY_PACKED leaves the width of a block's differences to the writer. Others take as few bits as will do, which
an entropy coder after them cannot see through; whole bytes above one base let deflate code each difference by how
frequent it is. A value that drifts takes 0.5 bytes so, and 0.8 to 1.1 in the fewest bits with zstd.

Handles flat files of optional columns, one page to a column of a row group, GZIP. It does not handle nesting,
dictionaries or encryption. Formats: parquet-format 2.9, `parquet.thrift` and `Encodings.md`.
"""

import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.history.thrift import Struct, binary, i32, i64, items, struct, text

_BLOCK = 256  # values; a multiple of 128
_MINIBLOCKS = 2
_WIDTHS = (1, 2, 4, 8)  # bytes
_BASE = 128  # below the usual difference
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

    def __init__(self, file: BinaryIO, fields: Sequence[Field]) -> None:
        self._file = file
        self._fields = fields
        self._groups: list[Struct] = []
        self._rows = 0
        self._offset = 0
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
    return pack_deltas(values.astype(np.int64))


def _levels(known: NDArray[np.bool_]) -> bytes:
    """Which rows have a value, in Parquet's hybrid of runs and bits."""
    edges = np.flatnonzero(np.diff(known)) + 1
    if len(edges) * 16 > len(known):
        bits = np.packbits(known, bitorder="little")
        return _varint(len(bits) << 1 | 1) + bits.tobytes()
    starts = [0, *edges.tolist()]
    ends = [*starts[1:], len(known)]
    pairs = zip(starts, ends, strict=True)
    return b"".join([_varint((end - start) << 1) + bytes([known[start]]) for start, end in pairs if end > start])


def pack_deltas(values: NDArray[np.int64]) -> bytes:
    """DELTA_BINARY_PACKED, each block's differences in 0, 1, 2, 4 or 8 whole bytes.

    Differences wrap as int64 does, which every reader undoes by wrapping too.
    """
    first = int(values[0]) if len(values) else 0
    out = [_varint(_BLOCK), _varint(_MINIBLOCKS), _varint(len(values)), _varint(_zigzag(first))]
    deltas = np.subtract(values[1:], values[:-1])
    if not len(deltas):
        return b"".join(out)
    usual = int(np.median(deltas[: 1 << 14])) - _BASE
    starts = np.arange(0, len(deltas), _BLOCK)
    lows, highs = np.minimum.reduceat(deltas, starts).tolist(), np.maximum.reduceat(deltas, starts).tolist()
    size = _BLOCK // _MINIBLOCKS
    for start, low, high in zip(starts.tolist(), lows, highs, strict=True):
        block = deltas[start : start + _BLOCK]
        used = -(-len(block) // size)
        width = 0
        if low != high:
            if usual <= low and high <= usual + 255:
                low = usual
            width = next(width for width in _WIDTHS if (high - low) >> width * 8 == 0)
        widths = bytes([width * 8] * used + [0] * (_MINIBLOCKS - used))
        out += [_varint(_zigzag(low)), widths]
        if width:
            above = np.zeros(used * size, np.uint64)
            above[: len(block)] = block.view(np.uint64) - np.uint64(low & 0xFFFF_FFFF_FFFF_FFFF)
            out.append(above.astype(f"<u{width}").tobytes())
    return b"".join(out)


def _deflate(body: bytes) -> bytes:
    """The smaller of two: bytes by their frequency alone, or with what repeats pointed to."""
    packed = []
    for level, strategy in ((1, zlib.Z_HUFFMAN_ONLY), (6, zlib.Z_DEFAULT_STRATEGY)):
        deflate = zlib.compressobj(level, zlib.DEFLATED, 31, 9, strategy)
        packed.append(deflate.compress(body) + deflate.flush())
    return min(packed, key=len)


def _zigzag(number: int) -> int:
    return (number << 1 ^ number >> 63) & 0xFFFF_FFFF_FFFF_FFFF


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
