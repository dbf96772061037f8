"""What every benchmark shares: options, runs of the load generator, the table it prints."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.load import Plan, Result
from bench.machine import cpu_seconds
from bench.peers import Absent

Row = dict[str, str | float | None]
ROOT = Path(__file__).parent.parent
_TIMEOUT_S = 300.0


class Options(msgspec.Struct, frozen=True):
    """How to run. `smoke` is tiny and asserts only that nothing is lost; `runs` is how many of each, for a median."""

    seconds: float = 5.0
    runs: int = 3
    smoke: bool = False


class Report(msgspec.Struct):
    """A benchmark's answer: rows of one table, what peers do less, and what the issue's goals come to."""

    name: str
    title: str
    rows: list[Row] = []
    notes: list[str] = []

    def note(self, text: str) -> None:
        """Add a line below the table."""
        self.notes.append(text)


class Load:
    """One run of the generator: connected at entry, `run` sends."""

    def __init__(self, plan: Plan) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        self._tell(msgspec.json.encode(plan))

    def __enter__(self) -> "Load":
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def run(self) -> Result:
        """Send until the plan is done and everything is acknowledged."""
        self._tell(b"go")
        return msgspec.json.decode(self._answer(), type=Result)

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def _answer(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator failed; see its message above")
        return line


class Measured(msgspec.Struct):
    """One run: what the generator saw, and the CPU seconds of each server process meanwhile."""

    result: Result
    cpu_s: dict[str, float]

    @property
    def rate(self) -> float:
        """Messages acknowledged a second."""
        return self.result.acked_in_time / self.result.seconds

    def us(self, name: str | None = None) -> float:
        """CPU microseconds a message of one process, or of all."""
        used = sum(self.cpu_s.values()) if name is None else self.cpu_s.get(name, 0.0)
        return used / max(1, self.result.acked) * 1e6


def measure(plan: Plan, pids: dict[str, int], afterwards: Callable[[], object] = lambda: None) -> Measured:
    """Run the generator against servers; `afterwards` is part of the CPU account, such as the history catching up."""
    with Load(plan) as load:
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        result = load.run()
        afterwards()
        cpu = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    return Measured(result, cpu)


def side_by_side(report: Report, contenders: dict[str, Callable[[], Row]], runs: int, key: str) -> None:
    """Run contenders in turn, `runs` times, so that what else the machine does meets all alike.

    Adds each one's median row by `key`; one that is not installed is told and left out.
    """
    found: dict[str, list[Row]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, contender in list(contenders.items()):
            try:
                found[name].append(contender())
            except Absent as absent:
                report.note(f"{name} is left out: {absent}.")
                del contenders[name]
    for rows in found.values():
        if rows:
            report.rows.append(sorted(rows, key=lambda row: float(row[key] or 0))[len(rows) // 2])


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Seconds of the block in `["s"]`."""
    taken = {"s": 0.0}
    began = time.perf_counter()
    yield taken
    taken["s"] = time.perf_counter() - began


def show(report: Report) -> None:
    """Print a report: a rich table on a terminal, plain columns in a pipe."""
    console = Console(highlight=False)
    columns = list(dict.fromkeys(name for row in report.rows for name in row))
    if console.is_terminal:
        table = Table(title=report.title, title_justify="left")
        for number, name in enumerate(columns):
            table.add_column(name, justify="right" if number else "left")
        for row in report.rows:
            table.add_row(*(shown(row.get(name)) for name in columns))
        console.print(table)
    else:
        print(f"\n{report.title}")
        lines = [columns] + [[shown(row.get(name)) for name in columns] for row in report.rows]
        widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
        for line in lines:
            print(
                "  ".join(
                    cell.rjust(width) if at else cell.ljust(width)
                    for at, (cell, width) in enumerate(zip(line, widths, strict=True))
                ).rstrip()
            )
    for note in report.notes:
        console.print(f"- {note}", soft_wrap=True)


def shown(value: Any) -> str:
    """A cell: three significant digits, thousands with commas, a dash for what was not measured."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def markdown(report: Report, conditions: str) -> str:
    """A report as a section of RESULTS.md."""
    columns = list(dict.fromkeys(name for row in report.rows for name in row))
    lines = [f"## {report.title}", "", conditions, ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(shown(row.get(name)) for name in columns) + " |" for row in report.rows]
    lines += ["", *(f"- {note}" for note in report.notes), ""]
    return "\n".join(lines)
