"""From a figure to the rows that it is made of: exactly those that were added up, and what each of them is of it.

What a row is of a figure is said by the same words to the database that adds up reports. Figures by the hour (load,
matched, apart) are made of hours, and an hour of the rows of all meters that take part.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from taihu.carbon.balance import together
from taihu.carbon.figures import ENERGY, INVENTORY, SUMMED, SUMS, UNSURE, Figures, MeterHours, hours
from taihu.carbon.ledger import CURRENT, NOW, Ledger
from taihu.carbon.rows import PARTS, Row
from taihu.carbon.selection import CHANGES, OF_BALANCE, OF_HOURS, Figure, Selection
from taihu.carbon.site import SiteHours, local_hours, score, seen, site_hours
from taihu.kernel.arrays import Flags, Ints, Numbers
from taihu.kernel.clock import HOUR_NS

_NET = "iif(rows.role = 'generation', -rows.generation_kwh, rows.import_kwh - rows.export_kwh)"
_VALUES: dict[Figure, str] = {
    Figure.ESTIMATED: f"iif(rows.{UNSURE}, {ENERGY} + ifnull(rows.export_kwh, 0), NULL)",
    Figure.ROWS: "1",
    Figure.KNOWN: "rows.quality != 'missing'",
    Figure.NET: _NET,
    Figure.PARTS: _NET,
    Figure.RESIDUAL: f"iif(rows.meter = :balance, 1, -1) * {_NET}",
}
_TAKING_PART = ("rows.role IN ('grid', 'generation', 'storage')", "(rows.meter = :balance OR rows.behind = :balance)")
_FROM_OLD = (
    "rows INDEXED BY restated JOIN rows AS old ON old.project = rows.project AND old.meter = rows.meter"
    " AND old.start = rows.start AND old.version = rows.version - 1"
)


class TracedHour(msgspec.Struct, frozen=True, kw_only=True):
    """One hour of a figure by the hour: `parts` are the kWh (and shares) that it is worked out of, None is unknown."""

    start: int
    parts: dict[str, float | None]


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """What a selection is made of, and one page of it.

    `value` is the figure, of all pages; `count` how many rows there are on all of them, or hours of a figure by the
    hour. `values` says what each row is of the figure; `before` are the versions that restated rows replaced. `total`
    adds up all rows, `whole` the parts of all hours.
    """

    value: float | None
    count: int
    rows: list[Row]
    values: list[float | None] = []
    before: list[Row] = []
    hours: list[TracedHour] = []
    total: Figures | None = None
    whole: dict[str, float | None] = {}


def trace(ledger: Ledger, project: str, wanted: Selection, zone: ZoneInfo, place: int, limit: int) -> Traced:
    """The rows that a selection is made of, from the row or hour at `place` on, at most `limit` of them."""
    if wanted.figure in OF_HOURS or wanted.figure in OF_BALANCE or wanted.hour is not None:
        return _by_the_hour(ledger, project, wanted, zone, place, limit)
    return _of_rows(ledger, wanted, *_where(ledger, project, wanted), place, limit)


def _of_rows(
    ledger: Ledger, wanted: Selection, where: str, values: Mapping[str, Any], place: int, limit: int
) -> Traced:
    value, restated = _value(wanted), wanted.reason is not None
    table = _FROM_OLD if restated else "rows"
    added = f"count(*), sum({value})" + ("" if restated else f", {SUMS}")
    count, whole, *sums = ledger.ask(f"SELECT {added} FROM {table} WHERE {where}", values)[0]  # noqa: S608 - own names
    total = None if restated else _figures(sums)
    page = dict(values) | {"limit": limit, "place": place}
    found = list(ledger.traced(value, table, where, page))
    return Traced(
        value=_whole(wanted, whole, count, total),
        count=count,
        rows=[row for row, _ in found],
        values=[each for _, each in found],
        before=[one for row, _ in found if (one := _before(ledger, row))] if restated else [],
        total=total,
    )


def _whole(wanted: Selection, added: float | None, count: int, total: Figures | None) -> float | None:
    if wanted.figure is Figure.KNOWN and total:
        return total.coverage
    return count if wanted.figure in (None, Figure.ROWS) else added


def _value(wanted: Selection) -> str:
    """What a row is of a figure, in SQL."""
    figure = wanted.figure or Figure.ROWS
    if wanted.reason is not None and figure in CHANGES:
        parts = ", ".join(f"'{role}'" for role in PARTS)
        return f"iif(rows.role IN ({parts}), 0, ifnull(rows.{figure}, 0) - ifnull(old.{figure}, 0))"
    return _VALUES.get(figure, f"rows.{figure}")


def _before(ledger: Ledger, row: Row) -> Row | None:
    found = ledger.rows(row.project, row.start, row.start + 1, row.meter, versions=True)
    return next((one for one in found if one.version == row.version - 1), None)


def _where(ledger: Ledger, project: str, wanted: Selection) -> tuple[str, dict[str, Any]]:
    """The rows of a selection, and what it is asked with."""
    meters = list(wanted.meter or ledger.meters(project))
    values: dict[str, Any] = {
        "project": project, "start": wanted.start, "end": wanted.end, "as_of": wanted.as_of or NOW,
        "meters": msgspec.json.encode(meters).decode(),
    }  # fmt: skip
    words = [
        "rows.project = :project AND rows.meter IN (SELECT value FROM json_each(:meters))",
        "rows.start >= :start AND rows.start < :end",
    ]
    if wanted.reason is None:
        words.append(CURRENT)
    else:
        words.append(f"rows.version > 1 AND rows.reason = :reason AND rows.written_at <= :as_of AND {INVENTORY}")
        values["reason"] = wanted.reason
    if wanted.role:
        words.append(f"rows.role IN ({', '.join(repr(str(role)) for role in wanted.role)})")
    for name in ("behind", "quality"):
        if getattr(wanted, name) is not None:
            words.append(f"rows.{name} = :{name}")
            values[name] = str(getattr(wanted, name))
    if wanted.restated:
        words.append("rows.version > 1")
    if wanted.factor:
        words.append("EXISTS (SELECT 1 FROM json_each(rows.factors) AS name WHERE name.value = :factor)")
        values["factor"] = wanted.factor
    if wanted.having is not None:
        inner = " AND ".join(words)
        words.append(f"rows.meter IN (SELECT rows.meter FROM rows WHERE {inner} AND rows.{wanted.having} IS NOT NULL)")  # noqa: S608
    return " AND ".join(words), values


def _by_the_hour(ledger: Ledger, project: str, wanted: Selection, zone: ZoneInfo, place: int, limit: int) -> Traced:
    """Rows of the hours that take part in a figure of a project's meters together."""
    since = (wanted.since or wanted.start) // HOUR_NS * HOUR_NS
    count = -(-((wanted.until or wanted.end) - since) // HOUR_NS)
    meters = hours(ledger, project, since, count, wanted.as_of or NOW)
    window = np.zeros(count, np.bool_)
    window[max(0, (wanted.start - since) // HOUR_NS) : max(0, -(-(wanted.end - since) // HOUR_NS))] = True
    if wanted.hour is not None:
        window &= local_hours(since, count, zone) == wanted.hour
    worked = (_balanced if wanted.balance else _matched)(meters, wanted, window)
    where, values = _where(ledger, project, msgspec.structs.replace(wanted, start=since, end=since + count * HOUR_NS))
    where += f" AND (rows.start - :since) / {HOUR_NS} IN (SELECT value FROM json_each(:hours))"  # noqa: S608 - own names
    where += f" AND {_TAKING_PART[bool(wanted.balance)]}"
    where += " AND rows.meter != :balance" if wanted.figure is Figure.PARTS else ""
    values |= {"since": since, "balance": wanted.balance}
    if wanted.figure not in OF_HOURS:
        return _of_rows(ledger, wanted, where, values | {"hours": _listed(worked.places)}, place, limit)
    page = worked.places[place : place + limit]
    where_page = values | {"hours": _listed(page), "limit": -1, "place": 0}
    return Traced(
        value=worked.value,
        count=len(worked.places),
        rows=[row for row, _ in ledger.traced("NULL", "rows", where, where_page)],
        hours=[
            TracedHour(start=since + at * HOUR_NS, parts={name: _known(one[at]) for name, one in worked.parts.items()})
            for at in page.tolist()
        ],
        whole={name: _known(one[worked.places].sum()) for name, one in worked.parts.items() if name != "carbon_free"},
    )


class _Worked(msgspec.Struct, frozen=True):
    """A figure by the hour: the hours that it is made of, by place, what they are worked out of, and the figure."""

    places: Ints
    parts: dict[str, Numbers]
    value: float | None


def _matched(meters: Sequence[MeterHours], wanted: Selection, window: Flags) -> _Worked:
    found = site_hours(meters, len(window))
    chosen = _chosen(found, wanted.figure) & window
    names = ("drawn", "certified", "given", "inside", "made", "load", "contracted", "matched", "carbon_free")
    parts = {name: getattr(found, name) for name in names}
    return _Worked(np.flatnonzero(chosen), parts, _score(found.part(window), wanted.figure))


def _chosen(found: SiteHours, figure: Figure | None) -> Flags:
    """The hours that a figure is made of."""
    match figure:
        case Figure.CFE:
            return found.known & ~np.isnan(found.carbon_free)
        case Figure.HOURS_ESTIMATED:
            return found.known & ~found.sure
        case Figure.HOURS_IMPOSSIBLE:
            return found.impossible
    return found.known


def _score(found: SiteHours, figure: Figure | None) -> float | None:
    one = score(found)
    values = {
        Figure.LOAD: one.load_kwh,
        Figure.MADE: one.made_kwh,
        Figure.MATCHED: one.matched_kwh,
        Figure.UNMATCHED: one.load_kwh - one.matched_kwh,
        Figure.UNMATCHED_IN_SUM: max(0.0, one.load_kwh - one.made_kwh),
        Figure.IN_SUM: one.annual,
        Figure.BY_THE_HOUR: one.hourly,
        Figure.CONTRACTED: one.contracted,
        Figure.CFE: one.cfe,
        Figure.HOURS: one.coverage,
        Figure.HOURS_ESTIMATED: float(one.estimated),
        Figure.HOURS_IMPOSSIBLE: float(one.impossible),
    }
    return None if figure is None else _known(values[figure])


def _balanced(meters: Sequence[MeterHours], wanted: Selection, window: Flags) -> _Worked:
    main = [one for one in meters if one.meter == wanted.balance]
    behind = [one for one in meters if one.behind == wanted.balance]
    if not main:
        return _Worked(np.array([], np.int64), {}, None)
    parts = sum((seen([one]).values for one in behind), np.zeros(len(window)))
    whole = seen(main, main=True).values
    known = ~np.isnan(whole - parts) & window
    sure = np.logical_and.reduce([one.sure for one in (*main, *behind)])
    apart = np.abs(together(np.where(known, whole - parts, 0.0), sure | ~known))
    through = float(np.abs(whole[known]).sum())
    share = float(apart[known].sum()) / through if through else None
    value = float(known.sum() / max(1, window.sum())) if wanted.figure is Figure.BALANCED else share
    shown = {"main": whole, "parts": parts, "residual": whole - parts, "apart": apart}
    return _Worked(np.flatnonzero(known), shown, value)


def _listed(places: Ints) -> str:
    return msgspec.json.encode(places.tolist()).decode()


def _known(value: float) -> float | None:
    return None if value != value else float(value)


def _figures(sums: Sequence[Any]) -> Figures:
    """What the database has added up; of no rows at all it says of counts nothing."""
    counts = [count or 0 for count in sums[len(SUMMED) :]]
    return Figures(**dict(zip(Figures.__struct_fields__, [*sums[: len(SUMMED)], *counts], strict=True)))
