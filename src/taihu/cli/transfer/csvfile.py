"""Rows of a CSV file whose first line has the headings."""

import csv
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from taihu.cli.transfer.rows import Item, SourceRefused
from taihu.cli.transfer.tables import Layout, TableReader
from taihu.things.property import Thing

UTF_8 = "utf-8"
_DELIMITERS = ",;\t|"


class Records:
    """The records of a CSV file, numbered from 1; each becomes what `read` makes of it.

    The delimiter is the one that the headings have most of, unless it is given. Raises SourceRefused for what is not in
    the encoding.
    """

    def __init__(self, path: Path, delimiter: str = "", encoding: str = UTF_8) -> None:
        self.total = path.stat().st_size
        self.skipped = 0
        self._path = path
        self._done = 0
        self._encoding = encoding
        with path.open("rb") as file:
            self.headings, self._delimiter = _headings(file, delimiter, encoding)

    def about(self, thing: str) -> Thing | None:
        return None

    @abstractmethod
    def read(self, number: int, where: str, record: Sequence[str]) -> Sequence[Item]:
        """What a record is: nothing when it holds no reading."""

    def items(self, after: int) -> Iterator[Item]:
        with self._path.open("rb") as file:
            file.readline()
            records = csv.reader(_text(file, self._encoding), delimiter=self._delimiter)
            try:
                for number, record in enumerate(filter(None, records), 1):
                    self._done = file.tell()
                    items = self.read(number, f"line {records.line_num + 1}", record)
                    if number <= after:  # read all the same: what a time means may depend on those before
                        continue
                    self.skipped += not items
                    yield from items
            except csv.Error as error:
                raise SourceRefused(f"Line {records.line_num + 1} is no CSV ({error}):", "correct the file.") from None

    def done(self) -> int:
        return self._done


class CsvSource(Records):
    """A CSV file as a layout says."""

    def __init__(self, path: Path, layout: Layout, delimiter: str = "", encoding: str = UTF_8) -> None:
        super().__init__(path, delimiter, encoding)
        self._reader = TableReader(self.headings, layout)
        self._layout = layout

    def about(self, thing: str) -> Thing | None:
        return self._layout.about(thing)

    def read(self, number: int, where: str, record: Sequence[str]) -> Sequence[Item]:
        return self._reader.read(number, where, record)


def headings_of(path: Path, encoding: str = UTF_8) -> list[str]:
    """The headings of a CSV file."""
    with path.open("rb") as file:
        return _headings(file, "", encoding)[0]


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


def _headings(file: IO[bytes], delimiter: str, encoding: str) -> tuple[list[str], str]:
    first = _decoded(file.readline(), encoding, 1).removeprefix("\ufeff")
    delimiter = delimiter or max(_DELIMITERS, key=first.count)
    headings = [heading.strip() for heading in next(csv.reader([first], delimiter=delimiter), [])]
    if not headings:
        raise SourceRefused("The file is empty:", "name one with headings in its first line.")
    return headings, delimiter


def _text(file: IO[bytes], encoding: str) -> Iterator[str]:
    for number, line in enumerate(iter(file.readline, b""), 2):
        yield _decoded(line, encoding, number)


def _decoded(line: bytes, encoding: str, number: int) -> str:
    try:
        return line.decode(encoding)
    except UnicodeDecodeError:
        remedy = "Say which it is, such as --encoding gb18030 of a Chinese Excel, or cp1252 of a western one."
        raise SourceRefused(f"Line {number} is not in {encoding}.", remedy) from None
