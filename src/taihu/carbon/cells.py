"""Figures as reports print them, and where each of them leads: to the rows that it is made of."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec

from taihu.carbon.avoided import Effect
from taihu.carbon.document import Cell, Link, Section, Table
from taihu.carbon.figures import Figures
from taihu.carbon.inventory import Category, UsedFactor
from taihu.carbon.rows import RowQuality
from taihu.carbon.selection import Figure, Selection
from taihu.kernel.clock import to_datetime


class Addresses(msgspec.Struct, frozen=True):
    """Where a project's rows and the factors are, and in which language they are read there."""

    rows: str
    factors: str
    language: str = "en"

    def of(self, selection: Selection) -> str:
        """Where the rows of a selection are."""
        return f"{self.rows}?{selection.query()}{self._said}"

    def factor(self, name: str, as_of: int) -> str:
        """Where a factor is, as it was known at a moment (UTC ns)."""
        return f"{self.factors}?{urlencode({'id': name, 'as_of': as_of})}{self._said}"

    @property
    def _said(self) -> str:
        return "" if self.language == "en" else f"&language={self.language}"


class Trail(msgspec.Struct, frozen=True):
    """Rows that several figures of a report are made of."""

    addresses: Addresses
    selection: Selection

    def narrow(self, **more: Any) -> "Trail":
        """Fewer of them."""
        return Trail(self.addresses, msgspec.structs.replace(self.selection, **more))

    def link(self, text: str, figure: Figure, **more: Any) -> Cell:
        """A figure that leads to its rows; what is not known leads nowhere."""
        return text if text == UNKNOWN else Link(text, self.address(figure, **more))

    def address(self, figure: Figure, **more: Any) -> str:
        """Where the rows of a figure are."""
        return self.addresses.of(self.selection.of(figure, **more))

    def numbers(self, figures: Figures | Effect, names: Iterable[str], digits: int = 2) -> tuple[Cell, ...]:
        """Some of the figures of these rows."""
        return tuple(self.link(number(getattr(figures, name), digits), Figure(name)) for name in names)

    def counts(self, figures: Figures | Effect | Category, **more: Any) -> tuple[Cell, ...]:
        """How many of these rows are measured, estimated and missing."""
        return tuple(
            self.link(f"{getattr(figures, quality):,}", Figure.ROWS, quality=quality, **more) for quality in RowQuality
        )


UNKNOWN = "-"


def share(value: float | None) -> str:
    """In percent."""
    return UNKNOWN if value is None or value != value else f"{100 * value:.1f} %"


def apart(value: float | None) -> str:
    """In percent, to the thousandth."""
    return UNKNOWN if value is None else f"{100 * value:.3f} %"


def mass(value: float | None) -> str:
    """In kg, with its unit."""
    return UNKNOWN if value is None else f"{value:,.1f} kg"


def number(value: float | None, digits: int) -> str:
    """With so many digits after the point."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def begin(at: int, zone: str) -> str:
    """The local day of a moment (UTC ns), with the time of day where that is not midnight."""
    local = to_datetime(at).astimezone(ZoneInfo(zone))
    return local.strftime("%Y-%m-%d %H:%M" if local.hour or local.minute else "%Y-%m-%d")


def iso(at: int, zone: str = "UTC") -> str:
    """A moment (UTC ns) to the minute, with its offset.

    >>> iso(1793462400000000000), iso(1793462400000000000, "Asia/Shanghai")
    ('2026-10-31 16:00 UTC', '2026-11-01 00:00+08:00')
    """
    if zone == "UTC":
        return to_datetime(at).strftime("%Y-%m-%d %H:%M UTC")
    return to_datetime(at).astimezone(ZoneInfo(zone)).isoformat(" ", "minutes")


def csv_text(heads: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A table as CSV; what is None is empty."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(heads)
    table.writerows(lines)
    return out.getvalue()


def factors_section(factors: Sequence[UsedFactor], trail: Trail, heading: str = "Factors") -> Section:
    """What figures were computed with: each leads to the rows that it priced, its value to where it comes from."""
    known = trail.selection.as_of
    rows: list[tuple[Cell, ...]] = [
        (
            Link(one.id, trail.address(Figure.ROWS, factor=one.id)),
            one.kind,
            "by interval" if one.value is None else Link(factor_value(one), trail.addresses.factor(one.id, known)),
            f"{one.region} {one.year or ''}".strip(),
            f"{one.source}, {one.published}" if one.published else one.source,
        )
        for one in factors
    ]
    heads = ("Row", "Kind", "Value", "Region, year", "Source")
    return Section(heading=heading, table=Table(heads=heads, rows=rows, texts=(0, 1, 3, 4)))


def factor_value(one: Any) -> str:
    """A factor's value with its unit."""
    return UNKNOWN if one.value is None else f"{one.value:.10g} {one.unit.removeprefix('1')}".strip()
