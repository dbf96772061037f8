"""What the history says of an account's intervals: its energies, and the grid's intensity of each.

Energy of a counter is its increase, what rose in a gap shared out evenly over it; of an interval property its sum; of a
gauge of power it is the time-weighted mean times the covered time (§9). A negative import or export is no energy, and
missing (§3), and so is more than the account's power gives; generation below zero is what the device itself draws, and
nothing was made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from taihu.carbon.account import (
    BELOW,
    BEYOND,
    ESTIMATE_FROM,
    FULL,
    Hourly,
    Metered,
    Priced,
    by_factor,
    inputs_of,
    scale,
)
from taihu.carbon.accounts import Account, AccountBroken
from taihu.carbon.avoided import avoided_rows, first_known
from taihu.carbon.direct import Amount, Used
from taihu.carbon.driven import Driven
from taihu.carbon.factors import CARBON_FREE, PER_KWH, FactorKind, FactorMissing, Factors, mix_intensity
from taihu.carbon.margin import WINDOW, margins
from taihu.carbon.quantity import AverageIntensity, Energy, Mass, Volume
from taihu.carbon.rows import Role, Row
from taihu.history.history import History
from taihu.history.windows import CounterWindows, GaugeWindows, IntervalWindows, Windows
from taihu.kernel.arrays import Flags, Ints, Numbers
from taihu.kernel.clock import HOUR_NS
from taihu.kernel.units import commensurable, converter
from taihu.things.property import Kind, Property, Signal

Edges = Ints


class Sources(msgspec.Struct, frozen=True):
    """What the accountant asks: definitions and parents of things, and whether a project may read another's (§11).

    `driven` says which hours a controller of a project drove from a moment (UTC ns) on: in order, at most so many.
    """

    definitions: Callable[[str, str], Mapping[str, Property]]
    may_read: Callable[[str, str, str], bool]
    parent: Callable[[str, str], str]
    driven: Callable[[str, str, int, int], Sequence[Driven]] = lambda project, controller, start, limit: ()


class Meters:
    """Reads accounts' intervals from the history."""

    def __init__(self, history: History, sources: Sources) -> None:
        self._history = history
        self._sources = sources
        self._grid: dict[tuple[str, str, str, int, int], Numbers] = {}

    def fresh(self) -> None:
        """Read anew what the grid says: until then many meters on one grid are told the same."""
        self._grid.clear()

    def first(self, account: Account) -> int:
        """The time of the account's first reading (UTC ns); 0 while there is none."""
        config = account.config
        if config.avoided:
            hours = self._sources.driven(account.project, config.avoided, 0, 1)
            return hours[0].start if hours else 0
        found = self._history.read(account.project, config.meter, config.energy, limit=1)
        return found[0].observed_at if found else 0

    def since(self, account: Account, at: int) -> int:
        """The last time (UTC ns) before a moment at which the account's registers were read; the moment where it has
        none, or none of them was.
        """
        config, project = account.config, account.project
        definitions = self._sources.definitions(project, config.meter)
        found = at
        for name in filter(None, (config.energy, config.exported) if not config.leak else ()):
            if name in definitions and definitions[name].kind is Kind.COUNTER:
                last = self._history.asof(project, config.meter, name, at - 1)
                found = min(found, last.observed_at if last else at)
        return found

    def metered(self, account: Account, edges: Edges, role: Role, behind: str) -> Metered:
        """The energies of consecutive intervals."""
        config, meter = account.config, account.config.meter
        energy, coverage, counted = self._energy(account, meter, config.energy, edges, spread=True)
        inputs, odd = [f"{meter}/{config.energy}"], dict[int, str]()
        most = config.power_kw_max * np.diff(edges) / HOUR_NS
        energy = _known(energy, abs(energy.values) <= most, BEYOND, odd)
        if config.net or config.storage:
            imported, exported = energy.imported(), energy.exported()
        elif config.exported:
            imported = _known(energy, energy.values >= 0, BELOW, odd)
            exported, other, both = self._energy(account, meter, config.exported, edges, spread=True)
            exported = _known(exported, exported.values >= 0, BELOW, odd)
            exported = _known(exported, exported.values <= most, BEYOND, odd)
            coverage, counted = np.minimum(coverage, other), counted and both
            inputs.append(f"{meter}/{config.exported}")
        else:
            imported = energy.imported() if config.generation else _known(energy, energy.values >= 0, BELOW, odd)
            exported = Energy(np.where(energy.known, 0.0, np.nan))
        return Metered(
            project=account.project,
            meter=config.key,
            edges=edges,
            imported=imported,
            exported=exported,
            coverage=coverage,
            inputs=tuple(inputs),
            counted=counted,
            odd=odd,
            role=role,
            behind=behind,
        )

    def used(self, account: Account, edges: Edges, role: Role) -> Used:
        """What was burnt, processed or leaked in consecutive intervals."""
        config, meter = account.config, account.config.meter
        windows, unit = self._windows(account, account.project, meter, config.energy, edges, spread=not config.leak)
        kind, values = _amounts(windows, unit)
        if kind is None or (role is not Role.FUEL and kind is not Mass):
            wanted = "an energy, a mass or a volume" if role is Role.FUEL else "a mass"
            raise AccountBroken(f"{account.project}/{meter}/{config.energy} is not {wanted}.", "Name one that is.")
        coverage = full = windows.coverage
        if role is Role.LEAK:  # an event: where none was noted, none is known of
            values, full = np.where(windows.missing, 0.0, values), np.ones(len(values))
            coverage = np.where(windows.missing, 0.0, 1.0)
        values = np.where(values < 0, np.nan, values)
        counted = isinstance(windows, CounterWindows)
        whole, quality = scale(~np.isnan(values), full, counted=counted)
        return Used(
            project=account.project,
            meter=config.key,
            role=role,
            starts=edges[:-1].tolist(),
            ends=edges[1:].tolist(),
            amount=kind(values * whole),
            coverage=coverage,
            quality=quality,
            inputs=inputs_of((f"{meter}/{config.energy}",), quality, counted=counted),
        )

    def avoided(self, account: Account, edges: Edges, factors: Factors) -> list[Row]:
        """Rows of the hours between edges that the account's controller drove."""
        found = self._sources.driven(account.project, account.config.avoided, int(edges[0]), len(edges))
        hours = [one for one in found if one.start < edges[-1]]
        return avoided_rows(*account.key, hours, self._marginal(account, hours, factors)) if hours else []

    def driven_span(self, account: Account, start: int, until: int, most: int) -> tuple[int, int]:
        """From the next hour that it drove, to the end of the last one that is known of it, `until` at the latest."""
        hours = self._sources.driven(account.project, account.config.avoided, start, most)
        return (hours[0].start, min(until, hours[-1].start + HOUR_NS)) if hours else (until, until)

    def hourly(self, account: Account, edges: Edges, factors: Factors) -> Hourly | None:
        """The grid's own intensity of each interval, where a property or its mix gives it."""
        found = None
        if account.intensity:
            values = self._gauge(account, account.intensity, PER_KWH, edges, Signal.AVERAGE)
            found = Hourly(AverageIntensity(values), [(account.intensity,)] * len(values))
        elif account.mix:
            found = self._mix(account, edges, factors)
        if account.carbon_free:
            none = np.full(len(edges) - 1, np.nan)
            share = np.clip(self._gauge(account, account.carbon_free, "1", edges), 0.0, 1.0)
            found = found or Hourly(AverageIntensity(none), [()] * len(none))
            found = msgspec.structs.replace(found, carbon_free=share)
        return found

    def _marginal(self, account: Account, hours: Sequence[Driven], factors: Factors) -> Priced:
        """The grid's marginal intensity of hours: as a property says, or its mix; else a factor of the region."""
        starts = np.array([one.start for one in hours])
        found = by_factor(starts.tolist(), FactorKind.MARGINAL, account.config.region, factors)
        edges = np.arange(starts[0], starts[-1] + 2 * HOUR_NS, HOUR_NS, dtype=np.int64)
        names: tuple[str, ...]
        if account.marginal:
            values, names = self._gauge(account, account.marginal, PER_KWH, edges, Signal.MARGINAL), (account.marginal,)
        elif account.mix:
            values, names = self._margin(account, edges, factors)
        else:
            return found
        own = Priced(values[(starts - starts[0]) // HOUR_NS], [names] * len(hours), [not account.mix] * len(hours))
        return first_known(own, msgspec.structs.replace(found, sure=[False] * len(hours)))

    def _margin(self, account: Account, edges: Edges, factors: Factors) -> tuple[Numbers, tuple[str, ...]]:
        """Of the sources of a mix that burn: an estimate, and the factors it was made with."""
        sources = [name for name in self._sources_of(account, factors) if name not in CARBON_FREE]
        project, thing = account.mix.split("/")
        before = edges[0] - HOUR_NS * np.arange(WINDOW, 0, -1)
        whole = np.concatenate([before, edges])
        used = [factors.find(FactorKind.LIFECYCLE, "", int(edges[0]), name).factor for name in sources]
        if not sources:
            return np.full(len(edges) - 1, np.nan), (account.mix,)
        made = np.array([self._made(account, project, thing, name, whole) for name in sources])
        values = margins(made, np.array([one.in_unit(PER_KWH) for one in used]))
        return values, (account.mix, *(one.id for one in used))

    def _mix(self, account: Account, edges: Edges, factors: Factors) -> Hourly:
        """From generation by source: the grid thing's properties that are named as life-cycle factors are."""
        project, thing = account.mix.split("/")
        sources = self._sources_of(account, factors)
        table = np.array([self._made(account, project, thing, name, edges) for name in sources])
        count = len(edges) - 1
        values = np.full(count, np.nan)
        names: list[tuple[str, ...]] = [(account.mix,)] * count
        for place in np.flatnonzero(~np.isnan(table).any(axis=0)):  # a mix with a source missing is no mix (§3)
            made = dict(zip(sources, table[:, place].tolist(), strict=True))
            try:
                values[place], used = mix_intensity(made, factors, int(edges[place]))
            except FactorMissing:
                continue
            names[place] = (account.mix, *used)
        clean = table[[place for place, name in enumerate(sources) if name in CARBON_FREE]].sum(axis=0)
        whole = table.sum(axis=0)
        return Hourly(AverageIntensity(values), names, np.divide(clean, whole, np.full(count, np.nan), where=whole > 0))

    def _sources_of(self, account: Account, factors: Factors) -> list[str]:
        """The properties of a mix that are sources of generation."""
        project, thing = account.mix.split("/")
        self._check_grant(account, project, thing)
        sources = sorted(factors.subjects(FactorKind.LIFECYCLE) & set(self._sources.definitions(project, thing)))
        if not sources:
            raise AccountBroken(
                f"No property of {account.mix} is named as a source of generation.",
                "Name them as the life-cycle factors are: coal, gas, hydro, wind. See: taihu factors",
            )
        return sources

    def _made(self, account: Account, project: str, thing: str, name: str, edges: Edges) -> Numbers:
        energy, coverage, counted = self._energy(account, thing, name, edges, project)
        known = coverage >= (FULL if counted else ESTIMATE_FROM)  # an increase may be of hours before
        values: Numbers = np.maximum(energy.values, 0.0) / np.where(known, coverage, np.nan)
        return values

    def _energy(
        self, account: Account, thing: str, name: str, edges: Edges, project: str = "", *, spread: bool = False
    ) -> tuple[Energy, Numbers, bool]:
        """KWh of what is known of each interval, which share of it that is, and whether it was counted."""
        windows, unit = self._windows(account, project or account.project, thing, name, edges, spread=spread)
        kind, values = _amounts(windows, unit)
        if kind is not Energy:
            raise AccountBroken(
                f"{project or account.project}/{thing}/{name} is no energy and no power.",
                "Name a counter or interval in kW.h, or a gauge in kW.",
            )
        return Energy(values), windows.coverage, isinstance(windows, CounterWindows)

    def _gauge(self, account: Account, path: str, wanted: str, edges: Edges, signal: Signal | None = None) -> Numbers:
        """A property of the grid in the unit wanted; NaN where most of an interval is not known."""
        project, thing, name = path.split("/")
        self._check_grant(account, project, thing)
        said = self._sources.definitions(project, thing).get(name)
        if said and said.signal not in (None, signal):
            raise AccountBroken(
                f"{path} is the {said.signal} intensity, which never stands for the other (§8).",
                "Name another property, or correct its taihu:signal.",
            )
        key = (path, account.config.every, account.timezone, int(edges[0]), int(edges[-1]))
        if (found := self._grid.get(key)) is not None:
            return found
        windows, unit = self._windows(account, project, thing, name, edges)
        if not isinstance(windows, GaugeWindows) or not commensurable(unit, wanted):
            kind = "intensity" if wanted == PER_KWH else "share"
            raise AccountBroken(f"{path} is no {kind}.", f"Name a gauge in {wanted}.")
        factor, offset = converter(unit, wanted)
        values: Numbers = np.where(windows.coverage >= ESTIMATE_FROM, windows.time_mean * factor + offset, np.nan)
        self._grid[key] = values
        return values

    def _check_grant(self, account: Account, project: str, thing: str) -> None:
        if project != account.project and not self._sources.may_read(account.project, project, thing):
            raise AccountBroken(
                f"{account.project} may not read {project}/{thing}.",
                f"Let {project} grant it: a grant names both sides.",
            )

    def _windows(
        self, account: Account, project: str, thing: str, name: str, edges: Edges, *, spread: bool = False
    ) -> tuple[Windows, str]:
        definition = self._sources.definitions(project, thing).get(name)
        if definition is None:
            raise AccountBroken(f"There is no property {project}/{thing}/{name}.", "Correct the account.")
        if definition.unit is None:
            raise AccountBroken(f"The unit of {project}/{thing}/{name} is undeclared.", "Declare it (§2).")
        if definition.formula:  # a late reading of an input would not restate what was accounted
            raise AccountBroken(f"{project}/{thing}/{name} is calculated.", "Name a property that a meter sends.")
        windows = self._history.window_between(project, [thing], name, edges)[thing]
        if spread and isinstance(windows, CounterWindows):
            windows = self._spread(windows, project, thing, name, edges)
        return windows, definition.unit

    def _spread(self, windows: CounterWindows, project: str, thing: str, name: str, edges: Edges) -> CounterWindows:
        """With what a counter rose in gaps shared out evenly over them; what is covered stays as it is."""
        parts = np.flatnonzero(windows.covered < windows.elapsed)
        if not len(parts):
            return windows
        first, end = int(parts[0]), int(parts[-1]) + 1
        found = self._history.spread(project, thing, name, edges[first : end + 1])
        assert isinstance(found, CounterWindows)
        increase = windows.increase.copy()
        increase[parts] = found.increase[parts - first]
        return replace(windows, increase=increase)


def _amounts(windows: Windows, unit: str) -> tuple[type[Amount] | None, Numbers]:
    """What a property's windows add up to, as the kind that its unit says; None when it says none."""
    for kind, rate in ((Energy, "kW"), (Mass, "kg/h"), (Volume, "m3/h")):
        match windows:
            case CounterWindows() if commensurable(unit, kind.unit):
                return kind, windows.increase * converter(unit, kind.unit)[0]
            case IntervalWindows() if commensurable(unit, kind.unit):
                return kind, windows.amount * converter(unit, kind.unit)[0]
            case GaugeWindows() if commensurable(unit, rate):
                return kind, windows.time_mean * converter(unit, rate)[0] * windows.covered / HOUR_NS
    return None, np.full(len(windows), np.nan)


def _known(energy: Energy, can_be: Flags, why: str, odd: dict[int, str]) -> Energy:
    """What of an energy can be; of the others `odd` is told why not."""
    odd.update(dict.fromkeys(np.flatnonzero(energy.known & ~can_be).tolist(), why))
    return Energy(np.where(can_be, energy.values, np.nan))
