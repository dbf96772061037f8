"""The example of docs/history-files.md reads what a node has stored, with nothing of ours."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.docs.support import DOCS, Reader

from taihu.history.layout import SYSTEM_COLUMNS

PAGE = (DOCS / "history-files.md").read_text("utf-8")


def test_the_example_reads_what_is_stored(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.start()
    reader.follow()
    reader.stop()
    duckdb, polars, pandas = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for code, package in ((duckdb, "duckdb"), (polars, "polars"), (pandas, "pandas")):
        if find_spec(package) is None:
            print(f"{package} is not installed: its example was not run")
            continue
        (tmp_path / "example.py").write_text(code, "utf-8")
        shown = reader.shell(f"{sys.executable} example.py")
        assert "power_kw__d1" in shown and "3.4" in shown


def test_every_system_column_is_listed() -> None:
    listed = re.findall(r"^\| (`.+?`) \|", PAGE, re.MULTILINE)
    names = [name for cell in listed for name in re.findall(r"`(\w+)`", cell)]
    assert tuple(names[: len(SYSTEM_COLUMNS)]) == SYSTEM_COLUMNS
