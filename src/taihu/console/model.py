"""What the pages show, worked out from the API's answers. Missing stays missing: nothing is 0 by default (§3)."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from taihu.console.answers import Newest, NodeStatus, Project, Thing, in_unit
from taihu.kernel.clock import HOUR_NS

STATES = ("online", "late", "silent", "never")
DISTRICT = "district"
GRID, METER, PV, BATTERY = "grid", "meter", "pv", "battery"
HOUSE_THINGS = (METER, PV, BATTERY)
POWER_UNIT, ENERGY_UNIT, INTENSITY_UNIT = "kW", "kW.h", "kg/(kW.h)"
_EVEN_KW = 0.005
_SAME_CLOCK_NS = HOUR_NS


class View(msgspec.Struct, frozen=True):
    """A page of a project's things and their newest values; `more` when there are further things."""

    project: Project
    things: tuple[Thing, ...]
    values: tuple[Newest, ...]
    more: bool = False

    def state(self, thing: str) -> str:
        """A thing's state; `never` when it is not there."""
        return next((known.state for known in self.things if known.name == thing), "never")

    def newest(self, thing: str, name: str) -> Newest | None:
        """The newest value of a property, however old."""
        return next((value for value in self.values if (value.thing, value.property) == (thing, name)), None)

    def number(self, thing: str, name: str, unit: str) -> float | None:
        """A property's number in `unit` while it holds; None when there is none, or none that still holds."""
        value = self.newest(thing, name)
        return None if value is None or value.stale else in_unit(value.value, value.unit, unit)


class Total(msgspec.Struct, frozen=True):
    """A figure over several houses: None when none is known; it speaks for `known` of `of` houses."""

    value: float | None
    known: int
    of: int

    @property
    def complete(self) -> bool:
        """Whether every house is in it."""
        return self.known == self.of


class House(msgspec.Struct, frozen=True):
    """A house now: kW (net import positive), % and kg/h; None is missing. `age_s` is of its newest value.

    `stale` when it has reported and nothing of it holds any more.
    """

    name: str
    title: str
    net_kw: float | None
    pv_kw: float | None
    charge_percent: float | None
    mode: str
    carbon_kg_h: float | None
    devices: tuple[tuple[str, str], ...]
    age_s: float | None
    stale: bool


class Flow(msgspec.Struct, frozen=True):
    """How far the node has come: messages acked, points durable and stored, journal records the history is behind."""

    acked: int
    points: int
    stored: int
    behind: int
    refused: int


class District(msgspec.Struct, frozen=True):
    """The district now. Carbon is location-based: net import times the average intensity (§8)."""

    houses: tuple[House, ...]
    net_kw: Total
    pv_kw: Total
    charge_percent: Total
    intensity: float | None
    carbon_kg_h: Total
    importing: int
    exporting: int
    even: int
    price: float | None
    price_unit: str
    outdoor_c: float | None


class Card(msgspec.Struct, frozen=True):
    """One project at a glance."""

    project: Project
    states: dict[str, int]
    counted: int
    age_s: float | None


class Page(msgspec.Struct, frozen=True):
    """Everything the pages show at one moment; `district` is None on a site that has none.

    `demo` when the site's clock is not the machine's: then its devices are simulated.
    """

    now_ns: int
    speed: float
    demo: bool
    title: str
    timezone: str
    flow: Flow
    states: dict[str, int]
    age_s: float | None
    cards: tuple[Card, ...]
    district: District | None


def page_of(status: NodeStatus, views: Sequence[View], machine_ns: int) -> Page:
    """The page of a node's answers; `machine_ns` is this machine's own time."""
    projects = [view.project for view in views]
    own = next((project for project in projects if not project.granted), projects[0] if projects else Project(""))
    cards = tuple(card_of(view) for view in views)
    return Page(
        now_ns=status.now,
        speed=status.clock_speed,
        demo=status.clock_speed != 1 or abs(status.now - machine_ns) > _SAME_CLOCK_NS,
        title=own.title or own.name,
        timezone=own.timezone,
        flow=Flow(
            acked=status.acked,
            points=status.points,
            stored=status.stored,
            behind=max(0, status.journal_position - status.history_position),
            refused=status.refused,
        ),
        states=_states(thing for view in views for thing in view.things),
        age_s=min((card.age_s for card in cards if card.age_s is not None), default=None),
        cards=cards,
        district=district_of(views),
    )


def card_of(view: View) -> Card:
    """One project at a glance."""
    return Card(view.project, _states(view.things), len(view.things), _age(view.values))


def house_views(views: Iterable[View]) -> list[View]:
    """The projects that are houses of the district: those with a meter, by name."""
    found = (view for view in views if view.project.name != DISTRICT and _has(view, METER))
    return sorted(found, key=lambda view: view.project.name)


def district_of(views: Sequence[View]) -> District | None:
    """The district of a site: a project of that name with the grid's signal, and houses it may read; None without."""
    grid = next((view for view in views if view.project.name == DISTRICT and _has(view, GRID)), None)
    metered = house_views(views)
    if grid is None or not metered:
        return None
    price = _holding(grid.newest(GRID, "price"))
    intensity = grid.number(GRID, "carbon_intensity", INTENSITY_UNIT)
    houses = tuple(house_of(view, intensity) for view in metered)
    net = total(houses, lambda house: house.net_kw)
    charge = total(houses, lambda house: house.charge_percent)
    ways = [way_of(house.net_kw) for house in houses]
    return District(
        houses=houses,
        net_kw=net,
        pv_kw=total(houses, lambda house: house.pv_kw),
        charge_percent=Total(None if charge.value is None else charge.value / charge.known, charge.known, charge.of),
        intensity=intensity,
        carbon_kg_h=Total(carbon_rate(net.value, intensity), net.known, net.of),
        importing=ways.count("import"),
        exporting=ways.count("export"),
        even=ways.count("even"),
        price=in_unit(price.value, price.unit, price.unit or "") if price else None,
        price_unit=price.unit if price and price.unit else "",
        outdoor_c=grid.number(GRID, "outdoor_temperature", "Cel"),
    )


def house_of(view: View, intensity: float | None) -> House:
    """A house of what was read of its project."""
    net = view.number(METER, "power", POWER_UNIT)
    pv = view.number(PV, "power", POWER_UNIT)
    charge = view.number(BATTERY, "state_of_charge", "%")
    mode = _holding(view.newest(BATTERY, "mode"))
    live = [view.newest(METER, "power"), view.newest(PV, "power"), view.newest(BATTERY, "state_of_charge")]
    return House(
        name=view.project.name,
        title=view.project.title or view.project.name,
        net_kw=net,
        pv_kw=pv,
        charge_percent=charge,
        mode=str(mode.value) if mode else "",
        carbon_kg_h=carbon_rate(net, intensity),
        devices=tuple((thing, view.state(thing)) for thing in HOUSE_THINGS),
        age_s=_age(value for value in live if value),
        stale=any(live) and all(value is None or value.stale for value in live),
    )


def carbon_rate(net_kw: float | None, intensity: float | None) -> float | None:
    """kg/h of what is drawn from the grid; export earns no credit. None unless both are known.

    >>> carbon_rate(2.0, 0.25), carbon_rate(-2.0, 0.25), carbon_rate(None, 0.25)
    (0.5, 0.0, None)
    """
    return None if net_kw is None or intensity is None else max(0.0, net_kw) * intensity


def way_of(net_kw: float | None) -> str:
    """Which way net power flows: import, export, even (below what is shown) or unknown.

    >>> way_of(1.2), way_of(-1.2), way_of(0.001), way_of(None)
    ('import', 'export', 'even', 'unknown')
    """
    if net_kw is None:
        return "unknown"
    return "even" if abs(net_kw) < _EVEN_KW else "import" if net_kw > 0 else "export"


def total(houses: Sequence[House], figure: Callable[[House], float | None]) -> Total:
    """The sum of the houses that are known, and how many they are."""
    known = [value for value in map(figure, houses) if value is not None]
    return Total(sum(known) if known else None, len(known), len(houses))


def by_thing(view: View) -> Mapping[str, list[Newest]]:
    """A project's newest values by thing, properties by name; a thing that never spoke has an empty list."""
    found: dict[str, list[Newest]] = {thing.name: [] for thing in view.things}
    for value in sorted(view.values, key=lambda value: value.property):
        if value.thing in found:
            found[value.thing].append(value)
    return found


def _holding(value: Newest | None) -> Newest | None:
    return None if value is None or value.stale else value


def _has(view: View, thing: str) -> bool:
    return any(known.name == thing for known in view.things)


def _states(things: Iterable[Thing]) -> dict[str, int]:
    counts = dict.fromkeys(STATES, 0)
    for thing in things:
        counts[thing.state if thing.state in counts else "never"] += 1
    return counts


def _age(values: Iterable[Newest]) -> float | None:
    return min((value.age_s for value in values), default=None)
