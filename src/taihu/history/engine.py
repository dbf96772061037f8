"""DuckDB as the store uses it: one bounded instance in memory, over the files of a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from taihu.history.deadline import Deadlines
from taihu.history.layout import COPY_OPTIONS
from taihu.kernel.files import Files

_CONFIG: dict[str, Any] = {
    "threads": 2,
    "memory_limit": "256MB",
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
}


class Engine:
    """Connections for any thread. What DuckDB spills lies in `tmp`, which is emptied at the start."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.deadlines = Deadlines()
        self._folder = folder
        self._files = files
        spill = folder / "tmp"
        for name in files.names(spill):
            files.remove(spill / name)
        self._duckdb = duckdb.connect(":memory:", config=_CONFIG | {"temp_directory": str(spill)})
        self._duckdb.execute("SET GLOBAL parquet_metadata_cache = true")  # files never change once written

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection of one's own, to close after use; LimitError when the thread's deadline is past."""
        cursor = self._duckdb.cursor()
        self.deadlines.watch(cursor)
        return cursor

    def copy(
        self, cursor: duckdb.DuckDBPyConnection, path: str, statement: str, values: Sequence[Any], level: int
    ) -> int:
        """Write a query's rows to a file of the folder, synced; returns its bytes. OSError when the disk is full."""
        target = self._folder / path
        quoted = str(target).replace("'", "''")  # a COPY target cannot be a parameter
        try:
            cursor.execute(f"COPY ({statement}) TO '{quoted}' ({COPY_OPTIONS}, COMPRESSION_LEVEL {level})", values)
        except duckdb.IOException as error:
            self._files.remove(target)
            raise OSError(f"a history file cannot be written: {error}") from error
        self._files.sync(target)
        return self._files.size(target)

    def close(self) -> None:
        """Close the instance."""
        self._duckdb.close()
