"""Small tables in memory that a child process reads as Parquet: heads, names, definitions. No disk is touched."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np

FIRST = 100  # the number of the first sheet's descriptor in the child

_OPTIONS = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION uncompressed, USE_TMP_FILE false"


class Sheets:
    """The sheets of one question, each behind a descriptor."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.descriptors: list[int] = []
        self._cursor = cursor

    def add(self, arrays: Mapping[str, Any], select: Mapping[str, str]) -> str:
        """Write a sheet and return the path at which the child finds it.

        Args:
            arrays: columns of equal length.
            select: the SQL that makes each column of the sheet from them.
        """
        descriptor = _unnamed_file()
        self.descriptors.append(descriptor)
        columns = ", ".join(f'{expression} AS "{name}"' for name, expression in select.items())
        self._cursor.register("fresh", dict(arrays))
        try:
            self._cursor.execute(f"COPY (SELECT {columns} FROM fresh) TO '/dev/fd/{descriptor}' ({_OPTIONS})")  # noqa: S608 (our own names)
        finally:
            self._cursor.unregister("fresh")
        return f"/dev/fd/{FIRST + len(self.descriptors) - 1}"

    def add_rows(self, kinds: Mapping[str, str], rows: Sequence[tuple[Any, ...]]) -> str:
        """Write a sheet from rows, with these types of columns."""
        columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
        arrays = {name: np.array(column, np.object_) for name, column in zip(kinds, columns, strict=True)}
        return self.add(arrays, {name: f'CAST("{name}" AS {kind})' for name, kind in kinds.items()})

    def close(self) -> None:
        """Let go of them; a child that has them keeps them."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("taihu-sheet", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
