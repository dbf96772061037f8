"""How answers are shown: a coloured table on a terminal, aligned text in a pipe, JSON when asked for."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import click

from taihu.kernel.clock import NS_PER_S, format_iso, to_datetime

MISSING = "-"
_NAME_WIDTH_MAX = 40  # the first column, which people copy, is folded last
_COLOURS = {
    "online": "green",
    "good": "green",
    "late": "yellow",
    "stamped": "cyan",
    "suspect": "yellow",
    "silent": "red",
    "never": "dim",
    "stale": "yellow",
    "refused": "red",
    "revoked": "red",
    "disabled": "red",
    "active": "green",
    "offered": "yellow",
    "requested": "yellow",
    "ended": "dim",
    "expired": "red",
    "applied": "green",
    "restart": "yellow",
    "older": "yellow",
    "upgraded": "green",
    "full": "red",
    "nearly full": "yellow",
}


def show(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str] = ()) -> None:
    """Print rows of text; the columns named in `numeric` are aligned to the right."""
    if on_terminal():
        _show_rich(columns, rows, numeric)
        return
    widths = [max(len(text) for text in column) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        cells = [
            text.rjust(width) if name in numeric else text.ljust(width)
            for name, text, width in zip(columns, row, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def show_json(body: Any) -> None:
    """Print one line of JSON."""
    import msgspec

    click.echo(msgspec.json.encode(body).decode())


def on_terminal() -> bool:
    """Whether a person looks on."""
    return sys.stdout.isatty()


def number_text(value: Any) -> str:
    """A value as text: numbers with at most ten digits, missing as a hyphen, never as 0 (§3)."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value or 0.0:.10g}"  # no negative zero
    if isinstance(value, dict | list):
        import msgspec

        return msgspec.json.encode(value).decode()
    return printable(str(value))


def share_text(share: float | None) -> str:
    """A part of 1 in percent; what is not quite none or all does not look like it.

    >>> share_text(0.0), share_text(0.001), share_text(0.5), share_text(0.999), share_text(1.0)
    ('0%', '<1%', '50%', '>99%', '100%')
    """
    if share is None:
        return MISSING
    if 0 < share < 0.01:
        return "<1%"
    if 0.99 < share < 1:
        return ">99%"
    return f"{share:.0%}"


def printable(text: str) -> str:
    """Text that cannot steer the terminal: what a device sent may hold anything."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def time_text(ns: int | None, zone: str = "") -> str:
    """A time as ISO 8601, in UTC or in an IANA time zone."""
    if not ns:
        return MISSING
    if not zone or zone == "UTC":
        return format_iso(ns)
    from zoneinfo import ZoneInfo

    return (
        to_datetime(ns)
        .astimezone(ZoneInfo(zone))
        .isoformat(timespec="seconds" if ns % NS_PER_S == 0 else "milliseconds")
    )


def age_text(seconds: float) -> str:
    """How long ago, in the largest unit that leaves at least one.

    >>> age_text(7261)
    '2 h'
    """
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


class Progress:
    """How far a long work is: a bar on a terminal, nothing in a pipe."""

    def begin(self, total: int) -> None:
        """There are `total` steps to come."""

    def advance(self, steps: int = 1) -> None:
        """So many more are done."""


class _Bar(Progress):
    def __init__(self, bar: Any, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=None)

    def begin(self, total: int) -> None:
        self._bar.update(self._task, total=total)

    def advance(self, steps: int = 1) -> None:
        self._bar.advance(self._task, steps)


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """A bar on stderr while a person looks on; it is gone when the block ends."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True, no_color="NO_COLOR" in os.environ)
    with RichProgress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar, title)


def _show_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
    for place, name in enumerate(columns):
        width = None if place else min(max((len(row[0]) for row in rows), default=0), _NAME_WIDTH_MAX)
        justify: Literal["right", "left"] = "right" if name in numeric else "left"
        table.add_column(name, justify=justify, overflow="fold", min_width=width)
    for row in rows:
        table.add_row(*(Text(text, style=_COLOURS.get(text, "")) for text in row))
    Console(no_color="NO_COLOR" in os.environ).print(table)
