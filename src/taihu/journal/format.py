"""The bytes of a segment file, version 1 (§14). Pure: bytes in, headers and frames out.

    segment = header frame*
    header  = magic[8] version:u32 mark[8] first:u64 follows:u64 created_ns:i64 crc32:u32
    frame   = mark[8] length:u32 first:u64 count:u32 crc32:u32 body[length]
    body    = record*count
    record  = kind:u8 length:u32 payload[length]

All little-endian. A crc32 covers all bytes before it in its header, a frame's also the body. `mark` is random for each
segment: after a damage the next frame is found by it, and no payload, which comes from strangers, can hold it.
`follows` is the last position there is before this segment: whatever the previous segment holds beyond it is abandoned.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from taihu.kernel.errors import DamagedError, RefusedError
from taihu.things.ports import Record

VERSION = 1
MARK_BYTES = 8
FRAME_BYTES = 262_144
RECORD_BYTES_MAX = 67_108_864

_MAGIC = b"taihu.j\n"
_HEADER = struct.Struct("<8sI8sQQq")
_FRAME = struct.Struct("<8sIQI")
_RECORD = struct.Struct("<BI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
FRAME_HEADER_BYTES = _FRAME.size + _CRC.size
RECORD_HEADER_BYTES = _RECORD.size
BODY_BYTES_MAX = RECORD_BYTES_MAX + RECORD_HEADER_BYTES
_NAME = re.compile(r"(\d{20})\.seg", re.ASCII)


class NewerFormat(RefusedError):
    """A segment was written by a later version of the program: use that version, or one after it."""

    code = "journal-newer"


class Header(msgspec.Struct, frozen=True):
    """What a segment says of itself; times in UTC nanoseconds."""

    mark: bytes
    first: int
    follows: int
    created_ns: int


class Frame(msgspec.Struct, frozen=True):
    """One frame whose checksum holds: `count` records from position `first` on, in the file's bytes [offset, end)."""

    offset: int
    end: int
    first: int
    count: int
    body: memoryview

    @property
    def next_position(self) -> int:
        """The position after the frame's last."""
        return self.first + self.count


def segment_path(folder: Path, first: int) -> Path:
    """Where the segment that starts at position `first` lies."""
    return folder / f"{first:020d}.seg"


def segment_firsts(names: Iterable[str]) -> list[int]:
    """The first positions of the segments among file names, rising; other names are passed over."""
    return sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)


def encode_header(header: Header) -> bytes:
    """The first `HEADER_BYTES` bytes of a segment."""
    data = _HEADER.pack(_MAGIC, VERSION, header.mark, header.first, header.follows, header.created_ns)
    return data + _CRC.pack(crc32(data))


def decode_header(data: bytes) -> Header | None:
    """Inverse of `encode_header`; None when damaged; raises NewerFormat."""
    if len(data) < HEADER_BYTES or _CRC.unpack_from(data, _HEADER.size)[0] != crc32(data[: _HEADER.size]):
        return None
    magic, version, mark, first, follows, created_ns = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        return None
    if version != VERSION:
        raise NewerFormat(
            f"the journal has format version {version}, this program reads version {VERSION}:",
            "start the version that wrote it, or a later one.",
        )
    return Header(mark, first, follows, created_ns)


def encode_frames(mark: bytes, first: int, records: Iterable[tuple[int, bytes]]) -> bytes:
    """Records (kind, payload) from position `first` on, in frames of about `FRAME_BYTES`."""
    parts: list[bytes] = []
    for group in _groups(records):
        body: list[bytes] = []
        for kind, payload in group:
            body += (_RECORD.pack(kind, len(payload)), payload)
        head = _FRAME.pack(mark, sum(len(part) for part in body), first, len(group))
        check = crc32(head)
        for part in body:
            check = crc32(part, check)
        parts += (head, _CRC.pack(check), *body)
        first += len(group)
    return b"".join(parts)


def frame_body_bytes(head: memoryview, mark: bytes) -> int:
    """The body length that a frame header claims; -1 when it cannot be a header. Not yet checked by the checksum."""
    if len(head) < FRAME_HEADER_BYTES or head[:MARK_BYTES] != mark:
        return -1
    length: int = _FRAME.unpack_from(head)[1]
    return length if length <= max(BODY_BYTES_MAX, FRAME_BYTES) else -1


def decode_frame(offset: int, head: memoryview, body: memoryview) -> Frame | None:
    """The frame at `offset` of its file; None when damaged."""
    _, length, first, count = _FRAME.unpack_from(head)
    if len(body) != length or _CRC.unpack_from(head, _FRAME.size)[0] != crc32(body, crc32(head[: _FRAME.size])):
        return None
    return Frame(offset, offset + FRAME_HEADER_BYTES + length, first, count, body)


def decode_records(frame: Frame) -> Iterator[Record]:
    """The frame's records; raises DamagedError when they do not fill the body, though its checksum holds."""
    at, end = 0, len(frame.body)
    for position in range(frame.first, frame.next_position):
        start = at + _RECORD.size
        if start > end:
            break
        kind, length = _RECORD.unpack_from(frame.body, at)
        at = start + length
        yield Record(position, kind, bytes(frame.body[start:at]))
    if at != end:
        raise DamagedError(
            f"the journal frame of positions {frame.first} to {frame.next_position - 1} does not parse:",
            "put its segment back from a backup (taihu restore), or remove the segment.",
        )


def records_max(size: int) -> int:
    """The most records that `size` bytes of frames can hold."""
    return max(0, size - FRAME_HEADER_BYTES) // _RECORD.size


def _groups(records: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    group: list[tuple[int, bytes]] = []
    size = 0
    for record in records:
        needed = len(record[1]) + _RECORD.size
        if group and size + needed > FRAME_BYTES:
            yield group
            group, size = [], 0
        group.append(record)
        size += needed
    if group:
        yield group
