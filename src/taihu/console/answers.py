"""What the node's HTTP API answers, as this console reads it; whatever else an answer holds is ignored."""

from typing import Any

import msgspec

from taihu.kernel.units import UnitError, convert

Json = dict[str, Any]


class NodeStatus(msgspec.Struct, frozen=True):
    """Counters of the node. `now` is its clock in UTC nanoseconds; positions count journal records."""

    now: int
    clock_speed: float = 1.0
    version: str = ""
    projects: int = 0
    things: int = 0
    acked: int = 0
    points: int = 0
    stored: int = 0
    refused: int = 0
    journal_position: int = 0
    history_position: int = 0
    worker: str = ""


class Project(msgspec.Struct, frozen=True):
    """A project that the console's token may read; `granted` when it is another's."""

    name: str
    title: str = ""
    timezone: str = "UTC"
    things: int = 0
    granted: bool = False
    refused: int = 0


class Thing(msgspec.Struct, frozen=True):
    """A thing in a listing. `state` is never, online, late or silent."""

    name: str
    title: str = ""
    model: str = ""
    state: str = "never"
    connected: bool = False
    inferred: bool = False
    refused: int = 0


class Newest(msgspec.Struct, frozen=True):
    """The newest value of a property. `stale` says that it does not hold any more (§3)."""

    thing: str
    property: str
    value: Any = None
    unit: str | None = None
    kind: str = ""
    quality: str = ""
    observed_at: int = 0
    age_s: float = 0.0
    stale: bool = False


class Series(msgspec.Struct, frozen=True):
    """A property whose history is wanted, and in which unit (UCUM)."""

    project: str
    thing: str
    property: str
    unit: str


class Window(msgspec.Struct, frozen=True):
    """One window of a history, whatever its kind: `value` is None when nothing is known of it."""

    start: int
    end: int
    coverage: float
    value: float | None


class ProjectsAnswer(msgspec.Struct, frozen=True):
    """Answer of `/projects`."""

    projects: tuple[Project, ...] = ()


class ThingsAnswer(msgspec.Struct, frozen=True):
    """Answer of `/things`: a page; `next` names its last thing when there may be more."""

    things: tuple[Thing, ...] = ()
    next: str = ""


class ValuesAnswer(msgspec.Struct, frozen=True):
    """Answer of `/values`."""

    values: tuple[Newest, ...] = ()


class Shared(msgspec.Struct, frozen=True):
    """How projects together were matched, as shares of their load: in sum, each by the hour, and shared by the hour."""

    annual: float | None = None
    hourly: float | None = None
    shared: float | None = None
    coverage: float = 0.0


class HourOfDay(msgspec.Struct, frozen=True):
    """All hours that begin at the same time of the local day, together."""

    hour: int
    load_kwh: float
    matched_kwh: float


class Score(msgspec.Struct, frozen=True):
    """How a project's load was matched; `coverage` is the share of hours that are known."""

    load_kwh: float = 0.0
    made_kwh: float = 0.0
    annual: float | None = None
    hourly: float | None = None
    coverage: float = 0.0


class Emitted(msgspec.Struct, frozen=True):
    """Scope 2 by both rules, which are never added; and how much energy was not metered in full in its interval."""

    location_kg: float | None = None
    market_kg: float | None = None
    estimated_kwh: float | None = None


class Balance(msgspec.Struct, frozen=True):
    """A main meter against what is behind it; `share` is None where that is not known."""

    meter: str
    residual_kwh: float = 0.0
    share: float | None = None
    coverage: float = 0.0


class Certificates(msgspec.Struct, frozen=True):
    """What was issued, and what of it was used."""

    issued_wh: int = 0
    cancelled_wh: int = 0


class Account(msgspec.Struct, frozen=True):
    """A meter with an account, and why it is not accounted."""

    meter: str
    broken: str = ""


class Changed(msgspec.Struct, frozen=True):
    """What control avoided at the marginal intensity, and how many of its hours are how sure."""

    avoided_kg: float | None = None
    measured: int = 0
    estimated: int = 0
    missing: int = 0


class Avoided(msgspec.Struct, frozen=True):
    """The consequential account of a project: in no inventory (§8)."""

    total: Changed = Changed()


class ProjectCarbon(msgspec.Struct, frozen=True):
    """What the ledger says of a project."""

    figures: Emitted = Emitted()
    score: Score = Score()
    balances: tuple[Balance, ...] = ()
    certificates: Certificates = Certificates()
    avoided: Avoided | None = None
    accounts: tuple[Account, ...] = ()


class CarbonAnswer(msgspec.Struct, frozen=True):
    """Answer of `/carbon`."""

    shared: Shared = Shared()
    by_hour: tuple[HourOfDay, ...] = ()
    projects: dict[str, ProjectCarbon] = {}


class WindowsAnswer(msgspec.Struct, frozen=True):
    """Answer of `/history` with `every`: each kind of property has its own members beside start, end and coverage."""

    unit: str | None = None
    windows: tuple[Json, ...] = ()


def windows_of(answer: WindowsAnswer, unit: str) -> tuple[Window, ...]:
    """One figure in `unit` for each window: an interval's sum, a counter's increase, a gauge's time-weighted mean.

    Windows without times are left out; one without coverage has no value (§3), nor has any where the unit is
    undeclared or another quantity's (§2).
    """
    found = []
    for window in answer.windows:
        start, end = window.get("start"), window.get("end")
        if not isinstance(start, int) or not isinstance(end, int):
            continue
        coverage = _number(window.get("coverage")) or 0.0
        figures = (_number(window.get(name)) for name in ("sum", "increase", "time_mean", "mean"))
        value = next((figure for figure in figures if figure is not None), None)
        found.append(Window(start, end, coverage, in_unit(value, answer.unit, unit) if coverage > 0 else None))
    return tuple(found)


def in_unit(value: Any, given: str | None, wanted: str) -> float | None:
    """A number given in one unit, in another; None for what is no number, or has no unit or one that does not fit (§2).

    >>> in_unit(1500, "W", "kW"), in_unit(1500, None, "kW"), in_unit(1.5, "Cel", "kW"), in_unit("on", "kW", "kW")
    (1.5, None, None, None)
    """
    number = _number(value)
    if number is None or given is None:
        return None
    try:
        return convert(number, given, wanted)
    except UnitError:
        return None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
