"""Tables as messages of an Arrow IPC stream, by nanoarrow: no more of Arrow is needed to write one."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import nanoarrow as na
import numpy as np
from nanoarrow.ipc import StreamWriter

from taihu.runtime.sheets import Sheet, Type

END = b"\xff\xff\xff\xff\0\0\0\0"
"""The end of a stream."""
_TYPES = {
    Type.TEXT: na.string(), Type.TIME: na.timestamp("ns", "UTC"), Type.NUMBER: na.float64(), Type.COUNT: na.int64(),
    Type.FLAG: na.bool_(),
}  # fmt: skip


def arrow_messages(columns: Mapping[str, Type], sheets: Sequence[Sheet], begins: bool) -> bytes:
    """One record batch of the rows of all `sheets`; when the stream begins the schema goes before it."""
    schema = na.struct({name: _TYPES[kind] for name, kind in columns.items()})
    children = [_column(kind, [sheet[name] for sheet in sheets]) for name, kind in columns.items()]
    batch = na.c_array_from_buffers(schema, children[0].length, [None], children=children, null_count=0)
    out = BytesIO()
    writer = StreamWriter.from_writable(out)
    writer.write_array(batch, write_schema=begins)
    writer.release()  # its end is not yet
    return out.getvalue()


def _column(kind: Type, parts: Sequence[Any]) -> Any:
    if kind is Type.TEXT:
        texts = [text for part in parts for text in part]
        encoded = [b"" if text is None else text.encode("utf-8", "replace") for text in texts]
        ends = np.zeros(len(texts) + 1, np.int32)
        np.cumsum([len(text) for text in encoded], out=ends[1:])
        missing = np.array([text is None for text in texts], np.bool_)
        return _array(kind, missing, [ends, b"".join(encoded)])
    if kind is Type.FLAG:
        flags = np.concatenate([np.empty(0, np.bool_), *parts])
        return na.c_array_from_buffers(
            _TYPES[kind], len(flags), [None, np.packbits(flags, bitorder="little")], null_count=0
        )
    values = np.concatenate([np.empty(0, np.float64 if kind is Type.NUMBER else np.int64), *parts])
    missing = np.isnan(values) if kind is Type.NUMBER else values == -1 if kind is Type.COUNT else np.zeros(0, np.bool_)
    return _array(kind, missing, [values])


def _array(kind: Type, missing: Any, buffers: list[Any]) -> Any:
    count = len(buffers[0]) - (kind is Type.TEXT)
    gaps = int(missing.sum())
    valid = np.packbits(~missing, bitorder="little") if gaps else None
    return na.c_array_from_buffers(_TYPES[kind], count, [valid, *buffers], null_count=gaps)
