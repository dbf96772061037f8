"""The fast layer: what each asset shall take now, from what the meter sees now, inside the corridor of a plan.

Where the plan wants the meter at zero, batteries share what is off, and cars what batteries leave of the sun. Where a
limit is exceeded, assets give way in a stated order: batteries, then jobs, then cars, then heat, then loads that are
switched; and towards the grid batteries and cars take more, then generation is curtailed. Batteries hold what a quarter
of an hour may still take of a peak that is billed by its mean. Pure: the same turns give the same answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum

import msgspec

from taihu.control.allot import Ask, allot
from taihu.control.contactor import Contactor
from taihu.control.demand import Demand
from taihu.control.residual import Residual, Trace
from taihu.control.share import Part, share
from taihu.control.steady import Place, steady
from taihu.kernel.clock import NS_PER_S

INF = float("inf")
STEP_KW = 0.01
_TRY = 0.05  # of its power: what is let in more to see whether a curtailed generator has more
_AT_LIMIT = 0.05  # of its power: so near to its limit it is curtailed
_FREE = 0.3  # of its power: so far below its limit it needs none
_REST_S = 60.0  # for which nothing is tried after it was in vain


class Kind(IntEnum):
    """What an asset is; the first gives way first."""

    BATTERY = 0
    JOB = 1
    VEHICLE = 2
    HEAT = 3
    LOAD = 4  # on or off, and not off before its contactor lets it


class Unit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An asset that takes power (kW): what the plan says, and the corridor it is kept in.

    `room_kwh` and `held_kwh` weigh what batteries share. `needs` says that more than planned is of use; below
    `least_kw` it would not be done in time. Below `minimum_kw` it is off. A battery is left at what it was told
    while that is within `band_kw` of its part.
    """

    name: str
    kind: Kind
    planned_kw: float
    low_kw: float
    high_kw: float
    room_kwh: float = 1.0
    held_kwh: float = 1.0
    needs: bool = False
    least_kw: float = 0.0
    minimum_kw: float = 0.0
    band_kw: float = 0.0

    @property
    def wanted_kw(self) -> float:
        """What the plan says, in the corridor."""
        return min(max(self.planned_kw, self.low_kw), self.high_kw)


class Sun(msgspec.Struct, frozen=True, kw_only=True):
    """A generator that can be curtailed: its power, and what the plan lets it give (kW)."""

    name: str
    power_kw: float
    planned_kw: float


class Group(msgspec.Struct, frozen=True):
    """Assets that together take no more than a limit."""

    members: tuple[str, ...]
    most_kw: float


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all of them. Limits are None where there is none.

    `lag_s` is within which the meter shows what was told; a meter that has said nothing for `meter_age_s` is not
    followed. A peak is of the mean of `demand_s`. Without `battery_to_vehicle` batteries give no more than the load
    takes that nobody moves.
    """

    import_max_kw: float | None = None
    export_max_kw: float | None = None
    groups: tuple[Group, ...] = ()
    lag_s: float = 3.0
    meter_age_s: float = 60.0
    demand_s: float = 900.0
    battery_to_vehicle: bool = True


class Reflex:
    """The fast layer of one meter. `contactors` belong to the units that are switched, by name."""

    def __init__(self, bounds: Bounds, contactors: Mapping[str, Contactor] | None = None) -> None:
        self._bounds = bounds
        self._contactors = contactors or {}
        self._lag_ns = int(bounds.lag_s * NS_PER_S)
        self._traces: dict[str, Trace] = {}
        members = {name for group in bounds.groups for name in group.members}
        self._groups_of = {name: tuple(name in group.members for group in bounds.groups) for name in members}
        self._rest, self._load = Residual(), Residual()  # without the units; and without the sun too
        self._rest_kw = self._load_kw = 0.0
        self._demand = Demand(self._lag_ns, int(bounds.demand_s * NS_PER_S))
        self._observed = self._met = 0  # when the meter was, by its clock and by ours
        self._limited: set[str] = set()
        self._more_kw = 0.0  # what curtailed generators may have more: it is tried
        self._tries_at = 0  # when it shows whether they have

    def tell(self, now: int, name: str, kw: float) -> None:
        """An asset was told so; a generator, that it may give so much."""
        self._trace(name).tell(now, kw)

    def read(self, now: int, name: str, observed_at: int, kw: float) -> bool:
        """An asset said what it takes, a generator what it gives; one reading counts once: then False."""
        return self._trace(name).read(now, observed_at, kw)

    def follows(self, now: int, name: str) -> tuple[float, float]:
        """The least and the most of what an asset was told that its reading of now may follow."""
        return self._trace(name).follows(now)

    def turn(
        self, now: int, meter: tuple[int, float] | None, units: Sequence[Unit], suns: Sequence[Sun] = (), *,
        zero: bool = False, export_kw: float = INF, peak_kw: float = INF,
    ) -> dict[str, float]:  # fmt: skip
        """What each is to take, and each generator may give (kW).

        Args:
            now: UTC ns.
            meter: when it was observed and what the meter sees, kW; None where it is not known.
            units: those that are driven; whoever is not, is a part of the load.
            suns: generators that can be curtailed.
            zero: whether the plan wants the meter at zero; else only limits move anybody from the plan.
            export_kw: what the plan lets in towards the grid, where it curtails by itself.
            peak_kw: the mean that no quarter of an hour is to exceed, as far as batteries can hold it.
        """
        wanted = {unit.name: unit.wanted_kw for unit in units}
        seen = self._see(now, meter, units, suns)
        if seen and zero:
            self._follow(now, units, wanted)
        for unit, contactor in self._switched(units):
            wanted[unit.name] = min(contactor.keep(now, wanted[unit.name]), max(unit.high_kw, 0.0))
        for group in self._bounds.groups:
            members = [unit for unit in units if unit.name in group.members]
            others = sum(self._trace(name).between(now)[1] for name in group.members if name not in wanted)
            over = others + sum(wanted[unit.name] for unit in members) - group.most_kw
            self._less(now, over, members, wanted, self._lowest(units, wanted))
        if seen and peak_kw < INF:
            over = self._net(now, units, wanted) - self._demand.most_kw(now, peak_kw)
            batteries = [unit for unit in units if unit.kind is Kind.BATTERY]
            self._less(now, over, batteries, wanted, self._lowest(units, wanted))
        limit = INF if self._bounds.export_max_kw is None else self._bounds.export_max_kw
        if seen and self._bounds.import_max_kw is not None:
            over = self._net(now, units, wanted) - self._bounds.import_max_kw
            self._less(now, over, units, wanted, self._lowest(units, wanted))
        if seen and limit < INF:
            self._more(-self._net(now, units, wanted) - limit, units, wanted)
        self._stay(units, wanted)
        for unit, contactor in self._switched(units):
            contactor.note(now, wanted[unit.name])
        if not seen:
            self._more_kw = 0.0
            return wanted | {sun.name: sun.planned_kw for sun in suns}
        self._try(now, suns)
        taken = sum(wanted[unit.name] + self._trace(unit.name).off(now) for unit in units)
        return wanted | self._let_in(suns, min(limit, export_kw) + self._load_kw + taken)

    def _see(self, now: int, meter: tuple[int, float] | None, units: Sequence[Unit], suns: Sequence[Sun]) -> bool:
        """Take over a reading of the meter; False where there is none that counts."""
        if meter is None:
            fresh = new = False
        else:
            new = self._observed != meter[0]
            self._met = now if new and self._observed else self._met or min(now, meter[0])
            self._observed = meter[0]
            fresh = now - self._met <= self._bounds.meter_age_s * NS_PER_S
        if not fresh:
            self._rest.forget()
            self._load.forget()
        elif new and meter is not None:
            self._demand.see(now, meter[1])
            low, high = _sums(self._trace(unit.name).between(now) for unit in units)
            least, most = _sums(self._trace(sun.name).between(now) for sun in suns)
            self._rest_kw = self._rest.see(meter[1], low, high)
            self._load_kw = self._load.see(meter[1], low - most, high - least)
        return fresh

    def _follow(self, now: int, units: Sequence[Unit], wanted: dict[str, float]) -> None:
        """Bring the meter to zero: batteries together, then cars with what is left of the sun."""
        batteries = [unit for unit in units if unit.kind is Kind.BATTERY]
        cars = [unit for unit in units if unit.kind is Kind.VEHICLE and unit.wanted_kw >= 0]
        cars_or_batteries = {unit.name for unit in (*batteries, *cars)}
        others = [unit for unit in units if unit.name not in cars_or_batteries]
        low = max(sum(one.low_kw for one in batteries), self._lowest(units, wanted))
        high = sum(one.high_kw for one in batteries)
        pool = self._more_kw - self._net(now, others, wanted)
        left = pool - sum(wanted[car.name] for car in cars)
        left -= min(max(left, low), high)
        for car in cars if left > 0 else cars[::-1]:
            most = car.high_kw if car.needs else car.wanted_kw
            wish = min(max(wanted[car.name] + left, min(car.least_kw, car.wanted_kw)), most)
            contactor = self._contactors.get(car.name)
            taken = max(wish, 0.0) if contactor is None else min(contactor.follow(now, wish), car.high_kw)
            left -= taken - wanted[car.name]
            wanted[car.name] = taken
        total = pool - sum(wanted[car.name] for car in cars)
        wanted |= _shared(min(max(total, low), high), batteries)

    def _less(self, now: int, over: float, units: Sequence[Unit], wanted: dict[str, float], lowest: float) -> None:
        """Take less by `over`, in the order of the kinds; batteries down to `lowest` together."""
        if over <= 0:
            return
        batteries = [unit for unit in units if unit.kind is Kind.BATTERY]
        before = sum(wanted[one.name] for one in batteries)
        after = max(before - over, min(before, max(lowest, sum(one.low_kw for one in batteries))))
        if after < before:
            wanted |= _shared(after, batteries)
            over -= before - after
        waiting = sorted((one for one in units if one.kind not in (Kind.BATTERY, Kind.LOAD)), key=lambda one: -one.kind)
        asks = [Ask(one.name, wanted[one.name], min(one.low_kw, wanted[one.name]), one.minimum_kw) for one in waiting]
        able = sum(ask.wanted_kw - ask.low_kw for ask in asks)
        for unit in reversed([one for one in units if one.kind is Kind.LOAD]):
            contactor = self._contactors.get(unit.name)
            if over > able and (contactor is None or not contactor.stays(now)):
                over -= wanted[unit.name]  # it is on or off: what it leaves the others need not give
                wanted[unit.name] = 0.0
        wanted |= allot(over, asks)

    def _more(self, over: float, units: Sequence[Unit], wanted: dict[str, float]) -> None:
        """Take more by `over`, batteries and then cars: what they cannot take is not let in."""
        if over <= 0:
            return
        batteries = [unit for unit in units if unit.kind is Kind.BATTERY]
        before = sum(wanted[one.name] for one in batteries)
        after = min(before + over, max(before, sum(one.high_kw for one in batteries)))
        if after > before:
            wanted |= _shared(after, batteries)
            over -= after - before
        for car in units:
            if car.kind is Kind.VEHICLE and car.needs and 0 < wanted[car.name] < car.high_kw:
                taken = min(wanted[car.name] + over, car.high_kw)
                over -= taken - wanted[car.name]
                wanted[car.name] = taken

    def _stay(self, units: Sequence[Unit], wanted: dict[str, float]) -> None:
        """Leave batteries as they are, as far as all of them, and all of each group, come to the same."""
        alike: dict[tuple[bool, ...], list[Unit]] = {}
        for unit in units:
            if unit.kind is Kind.BATTERY:
                alike.setdefault(self._groups_of.get(unit.name, ()), []).append(unit)
        for found in alike.values():
            places = [
                Place(self._trace(one.name).told, wanted[one.name], one.low_kw, one.high_kw, one.band_kw)
                for one in found
            ]
            wanted |= zip([one.name for one in found], steady(places), strict=True)

    def _let_in(self, suns: Sequence[Sun], total_kw: float) -> dict[str, float]:
        """What generators may give of what all together may; those far below it are free."""
        found = {}
        powers = {sun.name: sun.power_kw for sun in suns}
        for name, most in share(total_kw, [Part(sun.name, sun.power_kw, sun.power_kw) for sun in suns]).items():
            gives = self._trace(name).last
            if gives is None or gives > most - _AT_LIMIT * powers[name]:
                self._limited.add(name)
            elif gives < most - _FREE * powers[name]:
                self._limited.discard(name)
            found[name] = most if name in self._limited else powers[name]
        return found

    def _try(self, now: int, suns: Sequence[Sun]) -> None:
        """Whether to take a little more than the sun gives, because it gives all that it was let: it may have more."""
        if now < self._tries_at:
            return
        more = 0.0
        for sun in suns:
            told, gives = self._trace(sun.name).told, self._trace(sun.name).last
            if (
                told is not None
                and gives is not None
                and told - _TRY * sun.power_kw / 2 < gives
                and told < sun.power_kw
            ):
                more += _TRY * sun.power_kw
        in_vain = self._more_kw > 0 and not more
        self._more_kw = more
        self._tries_at = now + (int(_REST_S * NS_PER_S) if in_vain else self._lag_ns)

    def _net(self, now: int, units: Sequence[Unit], wanted: Mapping[str, float]) -> float:
        """What the meter will see, with these units at what they are to take."""
        return self._rest_kw + sum(wanted[unit.name] + self._trace(unit.name).off(now) for unit in units)

    def _lowest(self, units: Sequence[Unit], wanted: Mapping[str, float]) -> float:
        """The most that batteries may give together (negative)."""
        if self._bounds.battery_to_vehicle:
            return -INF
        own = self._rest_kw + sum(wanted[unit.name] for unit in units if unit.kind in (Kind.HEAT, Kind.JOB, Kind.LOAD))
        return -max(0.0, own)

    def _switched(self, units: Sequence[Unit]) -> list[tuple[Unit, Contactor]]:
        return [(unit, found) for unit in units if (found := self._contactors.get(unit.name)) is not None]

    def _trace(self, name: str) -> Trace:
        found = self._traces.get(name)
        if found is None:
            found = self._traces[name] = Trace(self._lag_ns)
        return found


def corridor(power_kw: tuple[float, float], held_kwh: float, band_kwh: tuple[float, float], one_way: float,
             hours: float) -> tuple[float, float]:  # fmt: skip
    """The least and the most (kW) that keep a store in its band for so many hours.

    >>> corridor((-5.0, 5.0), 9.9, (1.0, 10.0), 0.95, 1 / 60)
    (-5.0, 5.0)
    >>> corridor((-5.0, 5.0), 1.0, (1.0, 10.0), 0.95, 1 / 60)
    (0.0, 5.0)
    """
    least, most = band_kwh
    gives = max(0.0, held_kwh - least) * one_way / hours
    takes = max(0.0, most - held_kwh) / (one_way * hours)
    return max(power_kw[0], -gives) + 0.0, min(power_kw[1], takes)


def setpoint(load_kw: float, low_kw: float, high_kw: float) -> float:
    """The power (kW, charging is positive) that brings a meter to zero, as far as the corridor goes.

    >>> setpoint(-2.0, -5.0, 5.0), setpoint(2.0, 0.0, 5.0)
    (2.0, 0.0)
    """
    return round(min(max(-load_kw, low_kw), high_kw) / STEP_KW) * STEP_KW + 0.0


def _shared(total_kw: float, batteries: Sequence[Unit]) -> dict[str, float]:
    """All of them in one direction, those with room or content first."""
    if total_kw >= 0:
        return share(total_kw, [Part(one.name, one.high_kw, one.room_kwh) for one in batteries])
    given = share(-total_kw, [Part(one.name, -one.low_kw, one.held_kwh) for one in batteries])
    return {name: 0.0 - kw for name, kw in given.items()}


def _sums(parts: Iterable[tuple[float, float]]) -> tuple[float, float]:
    low = high = 0.0
    for least, most in parts:
        low, high = low + least, high + most
    return low, high
