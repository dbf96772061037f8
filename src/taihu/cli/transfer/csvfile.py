"""Rows of a CSV file whose first line has the headings."""

import csv
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from taihu.cli.transfer.rows import Item, SourceRefused
from taihu.cli.transfer.tables import Layout, TableReader
from taihu.things.property import Thing

_DELIMITERS = ",;\t|"


class Records:
    """The records of a CSV file in UTF-8, numbered from 1; each becomes what `read` makes of it.

    The delimiter is the one that the headings have most of, unless it is given.
    """

    def __init__(self, path: Path, delimiter: str = "") -> None:
        self.total = path.stat().st_size
        self.skipped = 0
        self._path = path
        self._done = 0
        with path.open("rb") as file:
            self.headings, self._delimiter = _headings(file, delimiter)

    def about(self, thing: str) -> Thing | None:
        return None

    @abstractmethod
    def read(self, number: int, where: str, record: Sequence[str]) -> Item | None:
        """What a record is; None when it holds no reading."""

    def items(self, after: int) -> Iterator[Item]:
        with self._path.open("rb") as file:
            file.readline()
            records = csv.reader(_text(file), delimiter=self._delimiter)
            try:
                for number, record in enumerate(filter(None, records), 1):
                    self._done = file.tell()
                    if number <= after:
                        continue
                    item = self.read(number, f"line {records.line_num + 1}", record)
                    if item is None:
                        self.skipped += 1
                    else:
                        yield item
            except csv.Error as error:
                raise SourceRefused(f"Line {records.line_num + 1} is no CSV ({error}):", "correct the file.") from None

    def done(self) -> int:
        return self._done


class CsvSource(Records):
    """A CSV file as a layout says."""

    def __init__(self, path: Path, layout: Layout, delimiter: str = "") -> None:
        super().__init__(path, delimiter)
        self._reader = TableReader(self.headings, layout)
        self._layout = layout

    def about(self, thing: str) -> Thing | None:
        return self._layout.about(thing)

    def read(self, number: int, where: str, record: Sequence[str]) -> Item:
        return self._reader.read(number, where, record)


def headings_of(path: Path) -> list[str]:
    """The headings of a CSV file."""
    with path.open("rb") as file:
        return _headings(file, "")[0]


def dictionary(path: Path, key: Sequence[str], value: Sequence[str]) -> dict[str, str]:
    """A small CSV file as a dict: the first of the headings `key` and of `value` that it has."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        records = csv.DictReader(file)
        names = records.fieldnames or []
        of = next((name for name in key if name in names), None)
        to = next((name for name in value if name in names), None)
        if of is None or to is None:
            raise SourceRefused(f"{path} has not the columns {key[0]} and {value[0]}:", "export them, with headings.")
        return {record[of]: record[to] for record in records}


def _headings(file: IO[bytes], delimiter: str) -> tuple[list[str], str]:
    first = file.readline().decode("utf-8-sig", "replace")
    delimiter = delimiter or max(_DELIMITERS, key=first.count)
    headings = [heading.strip() for heading in next(csv.reader([first], delimiter=delimiter), [])]
    if not headings:
        raise SourceRefused("The file is empty:", "name one with headings in its first line.")
    return headings, delimiter


def _text(file: IO[bytes]) -> Iterator[str]:
    for line in iter(file.readline, b""):
        yield line.decode("utf-8", "replace")
