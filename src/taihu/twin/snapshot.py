"""A snapshot of the twin, written in slices so that the event loop is never held, and read whole at start.

The position is taken before the first slice: what changes meanwhile is replayed from the journal on top, which the
twin's newest-wins rule makes harmless.
"""

import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from taihu.kernel.errors import DamagedError
from taihu.kernel.files import Files
from taihu.twin.twin import ThingTwin, Twin

_MAGIC = b"TAIHU-TWIN-1\n"
_SLICE = 500
_Entry = tuple[str, str, ThingTwin]
_decoder = msgspec.msgpack.Decoder(list[_Entry])


def write_slices(twin: Twin, position: int) -> Iterator[bytes]:
    """The snapshot's bytes, slice by slice, each with a checksum: `position`, then things, then an empty one."""
    yield _MAGIC + _slice(position.to_bytes(8, "little"))
    entries = twin.entries()
    while part := list(islice(entries, _SLICE)):
        yield _slice(msgspec.msgpack.encode(part))
    yield _slice(b"")


def load(twin: Twin, files: Files, path: Path) -> int:
    """Fill `twin` from the snapshot and return the position it covers; 0 when there is none.

    Raises:
        DamagedError: the file is torn or foreign: delete it, and the journal is replayed from its start.
    """
    try:
        data = files.read(path)
    except FileNotFoundError:
        return 0
    if not data.startswith(_MAGIC):
        raise DamagedError(f"{path.name} is not a twin snapshot.", "Delete it; the twin is rebuilt from the journal.")
    slices = _slices(data, path)
    position = int.from_bytes(next(slices), "little")
    for body in slices:
        for project, thing, entry in _decoder.decode(body):
            twin.restore(project, thing, entry)
    twin.position = position
    return position


def _slice(body: bytes) -> bytes:
    return len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little") + body


def _slices(data: bytes, path: Path) -> Iterator[bytes]:
    """The bodies up to the empty one."""
    at = len(_MAGIC)
    while True:
        size = int.from_bytes(data[at : at + 4], "little")
        body = data[at + 8 : at + 8 + size]
        if data[at : at + 8 + size] != _slice(body):
            raise DamagedError(f"{path.name} is damaged at byte {at}.", "Delete it; the journal is replayed instead.")
        at += 8 + size
        if not body:
            return
        yield body
