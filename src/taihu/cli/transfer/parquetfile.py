"""Rows of Parquet files, read by DuckDB a piece at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from taihu.cli.transfer.rows import Item, SourceRefused
from taihu.cli.transfer.tables import Layout, TableReader
from taihu.things.property import Thing

_PIECE = 20_000


class ParquetSource:
    """Parquet files with the same columns, one after the other."""

    def __init__(self, paths: Sequence[Path], layout: Layout) -> None:
        import duckdb

        self.skipped = 0
        self._paths = paths
        self._layout = layout
        self._database = duckdb.connect(config={"python_enable_replacements": False, "memory_limit": "512MB"})
        try:
            self._rows = [self._count(path) for path in paths]
        except duckdb.Error as error:
            raise SourceRefused(f"A file is no Parquet: {error}.", "Name another.") from None
        self.total = sum(self._rows)
        self._done = 0

    def about(self, thing: str) -> Thing | None:
        return self._layout.about(thing)

    def items(self, after: int) -> Iterator[Item]:
        number = 0
        for path, rows in zip(self._paths, self._rows, strict=True):
            if number + rows <= after:
                number += rows
                continue
            skip = max(0, after - number)
            number += skip
            for place, (reader, record) in enumerate(self._records(path, skip), skip + 1):
                number += 1
                self._done = number
                yield from reader.read(number, f"{path.name}, row {place}", record)

    def done(self) -> int:
        return self._done

    def _records(self, path: Path, skip: int) -> Iterator[tuple[TableReader, Sequence[Any]]]:
        columns = self._database.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
        reader = TableReader([name for name, *_ in columns], self._layout)
        listed = ", ".join(_expression(name, kind) for name, kind, *_ in columns)
        cursor = self._database.execute(f"SELECT {listed} FROM read_parquet(?) OFFSET ?", [str(path), skip])  # noqa: S608 (quoted)
        while records := cursor.fetchmany(_PIECE):
            for record in records:
                yield reader, record

    def _count(self, path: Path) -> int:
        row = self._database.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchone()
        assert row is not None  # an aggregate without GROUP BY has a row
        return int(row[0])


def _expression(name: str, kind: str) -> str:
    """A column as Python is to see it: times as text, whole and with their zone where they have one."""
    quoted = '"' + name.replace('"', '""') + '"'
    if kind.startswith("TIMESTAMP"):
        return f"CAST({quoted} AS VARCHAR)"
    return f"CAST({quoted} AS DOUBLE)" if kind.startswith("DECIMAL") else quoted
