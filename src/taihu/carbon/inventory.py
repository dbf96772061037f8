"""An inventory: what a project emitted in a period, from the rows of its ledger as they were known at a moment.

Scope 2 is reported twice, side by side and never added (GHG Protocol Scope 2 Guidance, chapter 7). The same figures in
the categories of ISO 14064-1:2018 clause 5.2.4: 1 direct, 2 imported energy, 3 to 6 other indirect.
"""

from collections.abc import Sequence

import msgspec

from taihu.carbon.avoided import Consequences, Effect, consequences
from taihu.carbon.balance import Balance
from taihu.carbon.factors import Factor
from taihu.carbon.figures import Figures, Line, MeterHours, Restated, hours, merge, restatements, sums, used
from taihu.carbon.ledger import NOW, Ledger
from taihu.carbon.rows import DIRECT, PARTS, Role
from taihu.carbon.site import balances
from taihu.kernel.clock import HOUR_NS

_PROPERTY = "a property of the grid, interval by interval"


class UsedFactor(msgspec.Struct, frozen=True, kw_only=True):
    """What the emissions were computed with: a row, or a property that gave the intensity of each interval."""

    id: str
    value: float | None
    unit: str
    region: str
    year: int
    kind: str
    source: str
    published: str


class MainBalance(msgspec.Struct, frozen=True, kw_only=True):
    """A meter's energy against that of all that is behind it, in [start, end).

    `worst` are the hours (UTC ns) most apart, by kWh; `lengths` says how many hours each of them stands for: those of a
    gap are compared together.
    """

    meter: str
    start: int
    end: int
    main_kwh: float
    parts_kwh: dict[str, float]
    residual_kwh: float
    share: float | None
    coverage: float
    closed: bool
    worst: dict[int, float]
    lengths: dict[int, int]


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the ISO 14064-1 table: kg, None where nothing is reported, and how sure its intervals are."""

    category: str
    kg: float | None
    measured: int
    estimated: int
    missing: int


class Lacking(msgspec.Struct, frozen=True):
    """A meter with an account that is not in a report, or not up to its end, and why."""

    meter: str
    accounted_to: int
    why: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What all reports say first: whose, of which period [start, end) (UTC ns), and when it was made.

    `as_of` is the moment (UTC ns) at which the ledger said so; 0 is now. All that was known is as of `known_at`, also
    when it is restated later.
    """

    project: str
    title: str
    timezone: str
    start: int
    end: int
    made_at: int
    as_of: int
    known_at: int


class Inventory(Report, frozen=True, kw_only=True):
    """What a project emitted. Every line leads to its rows: the ledger's of its meter in [start, end).

    `meters` are those of the total, `inside` the submeters and storages whose energy is in another meter's line
    already, `lacking` those that nothing is known of. `avoided` is no part of it: an account beside, by the marginal
    intensities in `avoided_by` (§8).
    """

    total: Figures
    meters: tuple[Line, ...]
    inside: tuple[Line, ...]
    parts: tuple[Line, ...]
    factors: tuple[UsedFactor, ...]
    restated: tuple[Restated, ...]
    balances: tuple[MainBalance, ...]
    iso_14064: tuple[Category, ...]
    lacking: tuple[Lacking, ...] = ()
    avoided: Consequences | None = None
    avoided_by: tuple[UsedFactor, ...] = ()


def inventory(
    ledger: Ledger, project: str, edges: Sequence[int], *, title: str, timezone: str, made_at: int, as_of: int = 0
) -> Inventory:
    """Add up a project's rows in parts of the period given by `edges` (UTC ns)."""
    start, end, at = edges[0], edges[-1], as_of or NOW
    first, count = since_there(ledger, project, start, end)
    parts = sums(ledger, project, edges, at)
    alike: dict[tuple[str, Role, str], list[Line]] = {}
    for line in parts:
        alike.setdefault((line.meter, line.role, line.behind), []).append(line)
    meters = [_whole(lines, start, end) for lines in alike.values()]
    counted = [line for line in meters if line.role not in PARTS]
    avoided = consequences(ledger, project, edges, at)
    return Inventory(
        project=project,
        title=title,
        timezone=timezone,
        start=start,
        end=end,
        made_at=made_at,
        as_of=as_of,
        known_at=known_at([*parts, *(avoided.parts if avoided else ())], as_of, made_at),
        total=merge([line.figures for line in counted]),
        meters=tuple(counted),
        inside=tuple(line for line in meters if line.role in PARTS),
        parts=tuple(parts),
        factors=used_factors(ledger, project, start, end, at),
        restated=tuple(restatements(ledger, project, start, end, at)),
        balances=main_balances(hours(ledger, project, first, count, at), first, count),
        iso_14064=categories(counted),
        avoided=avoided,
        avoided_by=used_factors(ledger, project, start, end, at, avoided=True) if avoided else (),
    )


def known_at(lines: Sequence[Line | Effect], as_of: int, made_at: int) -> int:
    """The moment (UTC ns) as of which the rows of lines can be read again; a clock that was set back is no reason."""
    return as_of or max([made_at, *(line.written_at for line in lines)])


def main_balances(meters: Sequence[MeterHours], first: int, count: int) -> tuple[MainBalance, ...]:
    """Whether what each main meter saw in `count` hours from `first` (UTC ns) on agrees with what is behind it (§9)."""
    return tuple(_main_balance(meter, one, first, first + count * HOUR_NS) for meter, one in balances(meters).items())


def since_there(ledger: Ledger, project: str, start: int, end: int) -> tuple[int, int]:
    """The whole hours of a period in which a project's meters are accounted: the first (UTC ns), and how many."""
    meters = ledger.meters(project)
    start = max(start, min(min(meters.values(), default=end), end - 1))
    done = max((ledger.accounted_to(project, meter) for meter in meters), default=end)
    return whole_hours(start, max(start + 1, min(end, done)))


def used_factors(
    ledger: Ledger, project: str, start: int, end: int, as_of: int = NOW, *, avoided: bool = False
) -> tuple[UsedFactor, ...]:
    """What a period was computed with, as it was known then: its inventory, or what was `avoided`."""
    known, kind = {factor.id: factor for factor in ledger.factors(as_of)}, "marginal" if avoided else "average"
    names = used(ledger, project, start, end, as_of, avoided=avoided)
    return tuple(_used(name, known.get(name), kind) for name in names)


def whole_hours(start: int, end: int) -> tuple[int, int]:
    """The first hour (UTC ns) that [start, end) touches, and how many it touches."""
    first = start // HOUR_NS * HOUR_NS
    return first, -(-(end - first) // HOUR_NS)


def _whole(lines: Sequence[Line], start: int, end: int) -> Line:
    """A meter's parts together."""
    figures, written_at = merge([line.figures for line in lines]), max(line.written_at for line in lines)
    return msgspec.structs.replace(lines[0], start=start, end=end, written_at=written_at, figures=figures)


def _main_balance(meter: str, one: Balance, first: int, end: int) -> MainBalance:
    return MainBalance(
        meter=meter,
        start=first,
        end=end,
        main_kwh=one.main_kwh,
        parts_kwh=one.parts_kwh,
        residual_kwh=one.residual_kwh,
        share=one.share if one.share == one.share else None,  # NaN is no JSON
        coverage=one.coverage,
        closed=one.closed,
        worst={first + place * HOUR_NS: residual for place, residual in one.worst.items()},
        lengths={first + place * HOUR_NS: length for place, length in one.lengths.items()},
    )


def categories(lines: Sequence[Line]) -> tuple[Category, Category, Category, Category]:
    """Meters in the categories of ISO 14064-1, imported energy by both rules."""
    direct = [line for line in lines if line.role in DIRECT]
    grids = [line for line in lines if line.role is Role.GRID]
    given = {line.meter for line in lines if line.figures.upstream_kg is not None}
    others = [line for line in lines if line.meter in given]
    return (
        _category("1 direct", "scope1_kg", direct),
        _category("2 imported energy, location-based", "location_kg", grids),
        _category("2 imported energy, market-based", "market_kg", grids),
        _category("3 to 6 other indirect", "upstream_kg", others),
    )


def _category(category: str, name: str, lines: Sequence[Line]) -> Category:
    whole = merge([line.figures for line in lines])
    return Category(
        category=category,
        kg=getattr(whole, name),
        measured=whole.measured,
        estimated=whole.estimated,
        missing=whole.missing,
    )


def _used(name: str, row: Factor | None, kind: str) -> UsedFactor:
    if row is None:
        return UsedFactor(id=name, value=None, unit="", region="", year=0, kind=kind, source=_PROPERTY, published="")
    return UsedFactor(**{field: getattr(row, field) for field in UsedFactor.__struct_fields__})
