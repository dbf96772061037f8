"""Hourly matching of a project: its load met by carbon-free energy of the same hour and grid, and what that leaves.

As the scope 2 revision that the GHG Protocol put to consultation in October 2025 has it: claims by the hour, from the
same grid (certificates of another are refused), and what is unmatched by the residual mix where there is one. The
figure by the year, which the standard of 2015 asks for, stands beside it.
"""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from taihu.carbon.figures import hours, merge, sums
from taihu.carbon.inventory import (
    Category,
    MainBalance,
    Report,
    UsedFactor,
    categories,
    known_at,
    main_balances,
    used_factors,
)
from taihu.carbon.ledger import NOW, Ledger
from taihu.carbon.rows import Role
from taihu.carbon.site import Score, SiteHours, local_hours, score, site_hours
from taihu.kernel.clock import HOUR_NS

_DAY_HOURS = 24


class HourOfDay(msgspec.Struct, frozen=True, kw_only=True):
    """All hours of a period that begin at the same time of the local day, together: kWh."""

    hour: int
    load_kwh: float
    matched_kwh: float


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the period, [start, end) (UTC ns)."""

    start: int
    end: int
    score: Score


class HourlyReport(Report, frozen=True, kw_only=True):
    """How a load was met hour by hour. `scope2` is the inventory's by both rules, of the same period."""

    score: Score
    scope2: tuple[Category, Category]
    drawn_kwh: float | None
    certified_kwh: float | None
    by_hour: tuple[HourOfDay, ...]
    parts: tuple[Part, ...]
    balances: tuple[MainBalance, ...]
    factors: tuple[UsedFactor, ...]


def hourly_report(
    ledger: Ledger, project: str, edges: Sequence[int], *, title: str, zone: ZoneInfo, made_at: int, as_of: int = 0
) -> tuple[HourlyReport, SiteHours]:
    """How each part of a period was matched, and the hours themselves; `edges` (UTC ns) are on full hours."""
    start, end, at = edges[0], edges[-1], as_of or NOW
    count = (end - start) // HOUR_NS
    meters = hours(ledger, project, start, count, at)
    found = site_hours(meters, count)
    lines = sums(ledger, project, (start, end), at)
    grid = [line for line in lines if line.role is Role.GRID]
    _, location, market, _ = categories(grid)
    figures = merge([line.figures for line in grid])
    report = HourlyReport(
        project=project,
        title=title,
        timezone=zone.key,
        start=start,
        end=end,
        made_at=made_at,
        as_of=as_of,
        known_at=known_at(lines, as_of, made_at),
        score=score(found),
        scope2=(location, market),
        drawn_kwh=figures.import_kwh,
        certified_kwh=figures.certified_kwh,
        by_hour=by_hour([found], start, zone),
        parts=tuple(_parts(found, edges)),
        balances=main_balances(meters, start, count),
        factors=used_factors(ledger, project, start, end, at),
    )
    return report, found


def by_hour(sites: Sequence[SiteHours], start: int, zone: ZoneInfo) -> tuple[HourOfDay, ...]:
    """What sites used and matched, each by itself, by the local time of day; their hours begin at `start` (UTC ns)."""
    count = len(sites[0].load)
    local = local_hours(start, count, zone)
    load, matched = np.zeros(_DAY_HOURS), np.zeros(_DAY_HOURS)
    for site in sites:
        known = site.known
        load += np.bincount(local[known], site.load[known], _DAY_HOURS)
        matched += np.bincount(local[known], site.matched[known], _DAY_HOURS)
    return tuple(
        HourOfDay(hour=hour, load_kwh=float(load[hour]), matched_kwh=float(matched[hour])) for hour in range(_DAY_HOURS)
    )


def _parts(found: SiteHours, edges: Sequence[int]) -> list[Part]:
    places = [(edge - edges[0]) // HOUR_NS for edge in edges]
    return [
        Part(start=edges[number], end=edges[number + 1], score=score(found.part(slice(*places[number : number + 2]))))
        for number in range(len(edges) - 1)
        if places[number] < places[number + 1]
    ]
