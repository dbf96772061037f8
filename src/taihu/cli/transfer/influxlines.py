"""Lines of InfluxDB's line protocol, as `influx_inspect export` and Telegraf write them; the node reads them."""

from collections.abc import Iterator
from pathlib import Path

from taihu.cli.transfer.rows import Item, Line
from taihu.things.property import Thing


class LineSource:
    """A file of lines, plain or gzip. Comments are passed by, and the statements that an export begins with (DDL)."""

    def __init__(self, path: Path) -> None:
        self.total = path.stat().st_size
        self.skipped = 0
        self._path = path
        self._done = 0

    def about(self, thing: str) -> Thing | None:
        return None

    def items(self, after: int) -> Iterator[Item]:
        import gzip

        with self._path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            lines = gzip.GzipFile(fileobj=file) if packed else file
            statements = False
            for number, line in enumerate(iter(lines.readline, b""), 1):
                self._done = file.tell()
                data = line.strip()
                if data.startswith(b"#"):
                    statements = data == b"# DDL" or (statements and data != b"# DML")
                elif data and not statements and number > after:
                    yield Line(number, f"line {number}", data)

    def done(self) -> int:
        return self._done
