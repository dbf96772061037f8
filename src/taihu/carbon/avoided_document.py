"""What controllers avoided as sections of a report, apart from its inventory, and as lines of its CSV (§8)."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from taihu.carbon.avoided import Effect
from taihu.carbon.cells import Trail, factors_section, iso
from taihu.carbon.document import Cell, Link, Section, Table
from taihu.carbon.rows import Role
from taihu.carbon.selection import Figure

if TYPE_CHECKING:
    from taihu.carbon.inventory import Inventory

AVOIDED_COLUMNS = ("without_kwh", "with_kwh", "avoided_kg")
AVOIDED_METHOD = """\
Consequential, by the GHG Protocol for Project Accounting: what the grid's other plants emitted less, or more where it
is negative, because of what controllers did. Each hour that one drove: what its meter would have drawn less given
without control, less what it did, times the grid's marginal intensity. It answers another question than the inventory,
is no offset, and is never added to or taken from it. An hour without a marginal intensity is missing; one whose
baseline nothing measured, or whose intensity is not its own hour's, is estimated."""
_HEADS = ("Controller", "Without control kWh", "With control kWh", "Avoided kg", "Measured", "Estimated", "Missing")


def avoided_sections(report: "Inventory", trail: Trail) -> list[Section]:
    """What controllers avoided, and by which marginal intensities; none where none drove."""
    if report.avoided is None:
        return []
    mine = trail.narrow(role=(Role.AVOIDED,))
    rows = [_line(one, mine.narrow(meter=(one.meter,))) for one in report.avoided.meters]
    rows.append(_line(report.avoided.total, mine))
    table = Table(heads=_HEADS, rows=rows, total=True)
    return [
        Section(heading="Avoided emissions, by marginal intensity: not in the inventory", table=table),
        factors_section(report.avoided_by, mine, "Marginal intensities"),
        Section(heading="Method of avoided emissions", note=AVOIDED_METHOD),
    ]


def avoided_lines(report: "Inventory", trail: Trail, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """A line of the CSV for each controller and part of the period; of an inventory's columns only counts have one."""
    for one in report.avoided.parts if report.avoided else ():
        mine = trail.narrow(role=(Role.AVOIDED,), meter=(one.meter,), start=one.start, end=one.end)
        period = (iso(at, report.timezone) for at in (one.start, one.end))
        yield (
            report.project,
            one.meter,
            Role.AVOIDED,
            "",
            *period,
            *(getattr(one, name, "") for name in names),
            mine.addresses.of(mine.selection),
        )


def _line(one: Effect, trail: Trail) -> tuple[Cell, ...]:
    name = Link(one.meter, trail.address(Figure.ROWS))
    return name, *trail.numbers(one, AVOIDED_COLUMNS), *trail.counts(one)
