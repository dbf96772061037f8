"""A project's electricity hour by hour, from its meters: what it drew, made and used, and whether that adds up.

Load is what was drawn plus what was made behind the meter less what was given; a battery's charging counts as load,
and its discharging takes from it. Where a storage is accounted, consumption is the load without it.
"""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from taihu.carbon.balance import Balance, balance
from taihu.carbon.figures import MeterHours
from taihu.carbon.matching import cfe_score, match
from taihu.carbon.quantity import Energy
from taihu.carbon.rows import Role
from taihu.kernel.arrays import Flags, Ints, Numbers
from taihu.kernel.clock import HOUR_NS, to_datetime

APART = "-"  # behind no meter of the project: made elsewhere, for it
_METER_ERROR = 0.01


class SiteHours(msgspec.Struct, frozen=True, kw_only=True):
    """KWh of each hour, NaN where one of the meters is not known.

    `made` is all, `inside` what of it was made behind a meter of the project; `stored` went into batteries there.
    `impossible` are hours in which more was given than drawn and made, beyond what meters err: their load is not known.
    `carbon_free` is the share of the grid's electricity, NaN where the grid does not say; `sure` hours are measured.
    """

    drawn: Numbers
    given: Numbers
    made: Numbers
    inside: Numbers
    load: Numbers
    stored: Numbers
    certified: Numbers
    carbon_free: Numbers
    sure: Flags
    impossible: Flags

    @property
    def contracted(self) -> Numbers:
        """Carbon-free energy that is the project's own in each hour: made on site and kept, or by certificate."""
        return np.maximum(self.inside - self.given, 0.0) + self.certified

    @property
    def matched(self) -> Numbers:
        """How much of the load it meets in its own hour."""
        return np.minimum(self.load, self.contracted)

    @property
    def known(self) -> Flags:
        """Which hours take part: those in which no meter is missing."""
        return ~np.isnan(self.load + self.made)

    def part(self, places: slice | Flags) -> "SiteHours":
        """Some of the hours."""
        return SiteHours(**{name: getattr(self, name)[places] for name in SiteHours.__struct_fields__})


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How carbon-free a load was, as shares of it from 0 to 1; NaN when there is none.

    `annual` lets what was made in any hour meet the load of any other, `hourly` only that of its own. `contracted`
    is what was made on site and kept, and what certificates cover. `cfe` adds the grid's carbon-free share of the rest,
    and is NaN where the grid does not say it. `coverage` is the share of hours that these speak for.
    """

    load_kwh: float
    made_kwh: float
    matched_kwh: float
    annual: float
    hourly: float
    contracted: float
    cfe: float
    coverage: float
    estimated: int
    impossible: int


def site_hours(meters: Sequence[MeterHours], count: int) -> SiteHours:
    """All meters of a project together."""
    mains = [meter for meter in meters if meter.role is Role.GRID]
    makers = [meter for meter in meters if meter.role is Role.GENERATION]
    stores = [meter for meter in meters if meter.role is Role.STORAGE]
    zero = np.zeros(count)
    drawn, given = _sum([meter.imported for meter in mains], count), _sum([meter.exported for meter in mains], count)
    drawn[: min((meter.first for meter in mains), default=count)] = np.nan  # there was no site yet ...
    if mains:
        drawn[np.logical_and.reduce([meter.gone for meter in mains])] = np.nan  # ... or is none any more
    made = _sum([meter.generation for meter in makers], count)
    inside = _sum([meter.generation for meter in makers if meter.behind != APART], count)
    stored = _sum([meter.net for meter in stores if meter.behind != APART], count)
    load = drawn + inside - given
    consumed = load - np.where(np.isnan(stored), 0.0, stored)
    impossible = consumed < -_METER_ERROR * (drawn + inside)
    parts = [*mains, *makers]
    return SiteHours(
        drawn=drawn,
        given=given,
        made=made,
        inside=inside,
        load=np.where(impossible, np.nan, np.maximum(load, 0.0)),
        stored=stored,
        certified=_sum([meter.certified for meter in mains], count),
        carbon_free=_mean([meter.carbon_free for meter in mains], count),
        sure=np.logical_and.reduce([meter.sure for meter in parts]) if parts else zero.astype(bool),
        impossible=impossible,
    )


def score(hours: SiteHours) -> Score:
    """How carbon-free a project's load was."""
    found = match(hours.load, hours.made)
    known = hours.known
    load, contracted = hours.load[known], hours.contracted[known]
    total = float(load.sum())
    return Score(
        load_kwh=total,
        made_kwh=float(hours.made[known].sum()),
        matched_kwh=float(np.minimum(load, contracted).sum()),
        annual=found.annual,
        hourly=found.hourly,
        contracted=cfe_score(load, contracted, 0.0),
        cfe=cfe_score(load, contracted, hours.carbon_free[known]),
        coverage=found.coverage,
        estimated=int((known & ~hours.sure).sum()),
        impossible=int(hours.impossible.sum()),
    )


def balances(meters: Sequence[MeterHours]) -> dict[str, Balance]:
    """The balance of each meter that has submeters, against them, what is made and what is stored behind it (§9)."""
    found = {}
    for name in _names(meters):
        parts = [meter for meter in meters if meter.behind == name]
        if any(part.role is Role.SUBMETER for part in parts):  # without one, what is not metered is simply the load
            main = [meter for meter in meters if meter.meter == name]
            sure = np.logical_and.reduce([meter.sure for meter in (*main, *parts)])
            behind = {one: seen([part for part in parts if part.meter == one]) for one in _names(parts)}
            found[name] = balance(seen(main, main=True), behind, sure)
    return found


def _names(meters: Sequence[MeterHours]) -> list[str]:
    return list(dict.fromkeys(meter.meter for meter in meters))


def local_hours(start: int, count: int, zone: ZoneInfo) -> Ints:
    """The hour of the local day at which each of `count` hours begins, from `start` (UTC ns) on."""
    return np.array([to_datetime(start + place * HOUR_NS).astimezone(zone).hour for place in range(count)], np.int64)


def seen(places: Sequence[MeterHours], *, main: bool = False) -> Energy:
    """What a meter drew in all of its places, from when it counts: what was before it, it does not know.

    A `main` one knows nothing either of what came after its account; behind another, it draws nothing any more.
    """
    net = sum((one.net for one in places), np.zeros(len(places[0].imported)))
    unseen = np.arange(len(net)) < places[0].first
    return Energy(np.where(unseen | places[0].gone if main else unseen, np.nan, net))


def _sum(series: Sequence[Numbers], count: int) -> Numbers:
    total: Numbers = np.zeros(count)
    for values in series:
        total = total + values
    return total


def _mean(series: Sequence[Numbers], count: int) -> Numbers:
    """Of those that are known; meters of one project are on one grid."""
    if not series:
        return np.full(count, np.nan)
    table = np.array(series)
    known = (~np.isnan(table)).sum(axis=0)
    return np.where(known > 0, np.nansum(table, axis=0) / np.maximum(known, 1), np.nan)
